// The card "Download": reads /download as it comes and compares its SHA-256 with the one the process announced.
import { sha256Hex, whyNotHashed } from './browser-hash.js';
import { at, byteText, element, rateText, say } from './page-elements.js';

let current;

const chosenBytes = () => Number(element('download-size').value);

function urlOf(bytes) {
  const url = at('download');
  url.searchParams.set('bytes', String(bytes));
  return url;
}

/** Reads everything; keeps it only where it will be hashed. */
async function read(answer, bytes, keep, onProgress) {
  const kept = keep ? new Uint8Array(bytes) : undefined;
  const reader = answer.body.getReader();
  let received = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (received + value.length > bytes) throw new Error('more came than was announced');
    kept?.set(value, received);
    received += value.length;
    onProgress(received);
  }
  return { received, kept };
}

function busy(is) {
  element('download-run').disabled = is;
  element('download-cancel').hidden = !is;
}

async function download() {
  const bytes = chosenBytes();
  current = new AbortController();
  busy(true);
  element('download-transfer').hidden = false;
  element('download-hash').hidden = true;
  element('download-progress').value = 0;
  element('download-rate').textContent = '';
  say('download-status', 'Waiting for the file…');
  try {
    const answer = await fetch(urlOf(bytes), { cache: 'no-store', signal: current.signal });
    if (!answer.ok) throw new Error((await answer.json()).message);
    say('download-status', 'Receiving…');
    const begin = performance.now();
    const obstacle = whyNotHashed(bytes);
    const { received, kept } = await read(answer, bytes, obstacle === undefined, (count) => {
      element('download-progress').value = count / bytes;
      element('download-rate').textContent =
        `${byteText(count)} of ${byteText(bytes)} · ${rateText(count, performance.now() - begin)}`;
    });
    element('download-progress').value = 1;
    element('download-rate').textContent =
      `${byteText(received)} · ${rateText(received, performance.now() - begin)}`;
    const announced = answer.headers.get('x-sha256');
    element('download-hash').textContent = `sha256 ${announced}`;
    element('download-hash').hidden = false;
    await judge(received, bytes, kept, announced, obstacle);
  } catch (error) {
    if (error.name === 'AbortError') say('download-status', 'Cancelled.');
    else say('download-status', `Download failed: ${error.message}.`, 'bad');
  } finally {
    busy(false);
  }
}

async function judge(received, bytes, kept, announced, obstacle) {
  const arrived = `All ${bytes.toLocaleString('en')} bytes arrived`;
  if (received !== bytes) {
    say('download-status', `${received} of ${bytes} bytes arrived.`, 'bad');
  } else if (obstacle !== undefined) {
    say('download-status', `${arrived}; ${obstacle}.`);
  } else if ((await sha256Hex(kept)) === announced) {
    say('download-status', `${arrived}, the hashes match.`, 'good');
  } else {
    say('download-status', `${arrived}, but the hashes differ.`, 'bad');
  }
}

export function startDownload() {
  const link = () => {
    element('download-save').href = urlOf(chosenBytes()).href;
  };
  element('download-size').addEventListener('change', link);
  element('download-run').addEventListener('click', download);
  element('download-cancel').addEventListener('click', () => current?.abort());
  link();
}
