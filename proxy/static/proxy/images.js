/** The images of the next message: chosen, pasted or dropped, made small enough to send, and shown. */
import { say } from "../endpoints/ask.js";
import { fill, gettext } from "../endpoints/words.js";
import { element } from "./turn_view.js";

/** Vision models read no more than this, and a request of many megabytes is refused. */
const LONGEST_SIDE_PIXELS = 1536;
const MAX_IMAGES = 8;
const JPEG_QUALITY = 0.88;

export class Images {
  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
    this.urls = [];
  }

  /** @returns {string[]} data URLs; there are none left afterwards */
  take() {
    const taken = this.urls;
    this.urls = [];
    this.#draw();
    return taken;
  }

  /** @param {Iterable<File>} files those that are no images are left out */
  async add(files) {
    for (const file of files) {
      if (!file.type.startsWith("image/")) continue;
      if (this.urls.length >= MAX_IMAGES) {
        say(fill(gettext("A message takes {most} images at most."), { most: MAX_IMAGES }));
        break;
      }
      try {
        this.urls.push(await dataUrl(file));
      } catch {
        say(fill(gettext("{name} cannot be read as an image."), file));
      }
    }
    this.#draw();
  }

  #draw() {
    this.list.replaceChildren(...this.urls.map((url, index) => this.#item(url, index)));
  }

  #item(url, index) {
    const image = element("img");
    image.src = url;
    image.alt = fill(gettext("Image {number}"), { number: index + 1 });
    const remove = element("button", "button", ["×"]);
    remove.type = "button";
    remove.setAttribute("aria-label", fill(gettext("Remove image {number}"), { number: index + 1 }));
    remove.addEventListener("click", () => {
      this.urls.splice(index, 1);
      this.#draw();
    });
    return element("li", "", [image, remove]);
  }
}

async function dataUrl(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE_PIXELS / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  // Photographs are small as JPEG; what may be transparent or drawn stays exact.
  return file.type === "image/jpeg" ? canvas.toDataURL("image/jpeg", JPEG_QUALITY) : canvas.toDataURL("image/png");
}
