/** A request of the playground as a program that sends it: curl, Python and JavaScript with OpenAI's own libraries. */

/** @param {string} base the gateway's base URL, ending in /v1 @param {object} body @returns {[string, string][]} */
export const snippets = (base, body) => [
  ["curl", curl(base, body)],
  ["Python", python(base, body)],
  ["JavaScript", javascript(base, body)],
];

const indented = (value, width = 2) => JSON.stringify(value, null, width);

function curl(base, body) {
  const quoted = indented(body).replaceAll("'", String.raw`'\''`);
  return `curl ${base}/chat/completions \\
  -H 'Content-Type: application/json' \\
  -H "Authorization: Bearer $OLLA_API_KEY" \\
  -d '${quoted}'`;
}

function python(base, body) {
  const { stream, stream_options, ...rest } = body;
  const lines = Object.entries({ ...rest, ...(stream && { stream: true }) }).map(([name, value]) => `    ${name}=${literal(value)},`);
  const reading = stream
    ? `for chunk in answer:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)`
    : "print(answer.choices[0].message.content)";
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${base}", api_key=os.environ.get("OLLA_API_KEY", "not-needed"))
answer = client.chat.completions.create(
${lines.join("\n")}
)
${reading}`;
}

/** A value as Python writes it: the same as JSON, but for three words. Strings are left alone. */
const literal = (value) =>
  indented(value, 4)
    .replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (token) => ({ true: "True", false: "False", null: "None" })[token] ?? token)
    .replaceAll("\n", "\n    ");

function javascript(base, body) {
  const { stream_options, ...rest } = body;
  const reading = body.stream
    ? `for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta?.content ?? "");`
    : "console.log(answer.choices[0].message.content);";
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}", apiKey: process.env.OLLA_API_KEY ?? "not-needed" });
const answer = await client.chat.completions.create(${indented(rest)});
${reading}`;
}
