/**
 * Turns one piece of the page into another by changing only what differs, so that an open <details>, the focus, a
 * selection and the scroll position survive an update. Elements with an id are the same element wherever they move.
 */

/** What belongs to the reader or to htmx, not to the server: without its own mark htmx leaves a button disabled. */
const KEPT_ATTRIBUTES = { DETAILS: ["open"], BUTTON: ["disabled", "data-disabled-by-htmx"] };

/** Make `current` look like `wanted`, children included. @param {Element} current @param {Element} wanted */
export function morph(current, wanted) {
  morphAttributes(current, wanted);
  morphChildren(current, wanted);
}

function morphAttributes(current, wanted) {
  const kept = KEPT_ATTRIBUTES[current.tagName] ?? [];
  for (const { name, value } of [...wanted.attributes]) {
    if (!kept.includes(name) && current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  for (const { name } of [...current.attributes]) {
    if (!kept.includes(name) && !wanted.hasAttribute(name)) current.removeAttribute(name);
  }
}

/** @param {Element} current @param {Element|DocumentFragment} wanted its children are moved out of it as needed */
export function morphChildren(current, wanted) {
  const byId = new Map([...current.children].filter((child) => child.id).map((child) => [child.id, child]));
  let place = current.firstChild;
  for (const next of [...wanted.childNodes]) {
    const match = next.id ? byId.get(next.id) : alike(place, next) ? place : null;
    if (!match) {
      current.insertBefore(next, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else current.insertBefore(match, place);
    // What a script draws into a `data-keep` is not the server's to change.
    if (match.dataset?.keep !== undefined) continue;
    if (match.nodeType === Node.ELEMENT_NODE) morph(match, next);
    else if (match.data !== next.data) match.data = next.data;
  }
  while (place) {
    const following = place.nextSibling;
    place.remove();
    place = following;
  }
}

/** Whether the node at this place can become the wanted one. */
function alike(node, wanted) {
  return node !== null && !node.id && node.nodeType === wanted.nodeType && node.nodeName === wanted.nodeName;
}
