// What every card needs to speak to the reader: its elements, a toned status line, numbers as text.

/** The element of this id; its absence is a mistake in the page. */
export function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element "${id}".`);
  return found;
}

/** `tone`: 'good', 'bad' or 'plain'. */
export function say(id, text, tone = 'plain') {
  const line = element(id);
  line.dataset.tone = tone;
  line.textContent = text;
}

/** `state`: 'live', 'waiting' or 'down'. */
export function showState(pillId, textId, state, text) {
  element(pillId).dataset.state = state;
  // A live region is read out at every write, changed or not.
  if (element(textId).textContent !== text) element(textId).textContent = text;
}

/** The URL of a path of this application, wherever it is mounted. */
export const at = (path) => new URL(path, document.baseURI);

/** Decimal units, as the sizes on this page have them: 1 MB is 1,000,000 bytes. */
export function byteText(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

export function rateText(bytes, ms) {
  return ms > 0 ? `${byteText((bytes / ms) * 1000)}/s` : '';
}

export function millisecondText(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
