// What the openai SDK makes of the gateway at the URL that it is given: its answers, and the class of each error.
// Prints one JSON object. The model's name says what is to happen.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "not-needed", maxRetries: 0, timeout: 5000 });
const messages = [{ role: "user", content: "What is MLX?" }];

async function streamed() {
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: "m1", messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return text;
}

async function responded() {
  let text = "";
  for await (const event of await client.responses.create({ model: "m1", input: "Hi", stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  return text;
}

async function fails(act) {
  try {
    await act();
  } catch (error) {
    return { class: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
             known: Boolean(error.requestID) };
  }
  return null;
}

const chat = (model, options) => () => client.chat.completions.create({ model, messages }, options);
const errors = {};
for (const status of process.argv.slice(3)) errors[status] = await fails(chat(`m${status}`));
errors.cut = await fails(async () => {
  for await (const _ of await client.chat.completions.create({ model: "cut", messages, stream: true }));
});
errors.nobodys = await fails(chat("nobody's"));
errors.keyless = await fails(chat("m1", { headers: { "X-Forwarded-For": "10.0.0.1" } }));
errors.slow = await fails(chat("slow", { timeout: 100 }));
errors.nowhere = await fails(() => new OpenAI({ baseURL: "http://127.0.0.1:9/v1", apiKey: "x", maxRetries: 0 }).models.list());

const whole = await client.chat.completions.create({ model: "m1", messages });
const listed = await client.models.list();
const embedded = await client.embeddings.create({ model: "m1", input: ["a", "b"] });
console.log(JSON.stringify({
  chat: whole.choices[0].message.content,
  usage: whole.usage.total_tokens,
  requestId: Boolean(whole._request_id),
  stream: await streamed(),
  responses: await responded(),
  models: listed.data.map((model) => model.id).includes("m1"),
  model: (await client.models.retrieve("m1")).owned_by,
  vectors: embedded.data.map((each) => each.embedding.length),
  errors,
}));
