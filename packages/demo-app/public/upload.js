// The card "Upload": sends a file or random bytes to /echo and compares both ends' SHA-256.
import { sha256Hex, whyNotHashed } from './browser-hash.js';
import { at, byteText, element, rateText, say } from './page-elements.js';

/** What getRandomValues fills at most in one call. */
const RANDOM_CALL_BYTES = 65_536;
/** Larger blobs repeat one block of this size: a Blob refers to its parts, so 1 GB costs no more memory than this. */
const BLOCK_BYTES = 1_000_000;

/** The XMLHttpRequest under way, if any; fetch reports no upload progress. */
let current;

function randomBlob(bytes) {
  const block = new Uint8Array(Math.min(bytes, BLOCK_BYTES));
  for (let offset = 0; offset < block.length; offset += RANDOM_CALL_BYTES) {
    crypto.getRandomValues(block.subarray(offset, offset + RANDOM_CALL_BYTES));
  }
  const part = new Blob([block]);
  const whole = Array.from({ length: Math.floor(bytes / block.length) }, () => part);
  return new Blob([...whole, part.slice(0, bytes % block.length)]);
}

function send(blob, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    current = request;
    request.open('POST', at('echo'));
    request.responseType = 'json';
    request.upload.addEventListener('progress', (event) => onProgress(event.loaded));
    request.addEventListener('load', () => {
      if (request.status === 200) resolve(request.response);
      else reject(new Error(request.response?.message ?? `status ${request.status}`));
    });
    request.addEventListener('error', () => reject(new Error('the connection was lost')));
    request.addEventListener('abort', () => reject(new DOMException('Cancelled.', 'AbortError')));
    request.send(blob);
  });
}

function busy(is) {
  element('upload-random').disabled = is;
  element('upload-file').disabled = is;
  element('upload-cancel').hidden = !is;
}

async function upload(blob, name) {
  if (current !== undefined) return;
  busy(true);
  element('upload-transfer').hidden = false;
  element('upload-hash').hidden = true;
  const begin = performance.now();
  const progress = (sent) => {
    element('upload-progress').value = blob.size === 0 ? 1 : sent / blob.size;
    element('upload-rate').textContent =
      `${byteText(sent)} of ${byteText(blob.size)} · ${rateText(sent, performance.now() - begin)}`;
  };
  progress(0);
  say('upload-status', `Sending ${name}…`);
  try {
    const answer = await send(blob, progress);
    const ms = performance.now() - begin;
    progress(blob.size);
    element('upload-rate').textContent = `${byteText(blob.size)} · ${rateText(blob.size, ms)}`;
    element('upload-hash').textContent = `sha256 ${answer.sha256}`;
    element('upload-hash').hidden = false;
    await judge(blob, answer);
  } catch (error) {
    if (error.name === 'AbortError') say('upload-status', 'Cancelled.');
    else say('upload-status', `Upload failed: ${error.message}.`, 'bad');
  } finally {
    current = undefined;
    busy(false);
  }
}

async function judge(blob, answer) {
  if (answer.bytes !== blob.size) {
    say('upload-status', `${answer.bytes} of ${blob.size} bytes arrived.`, 'bad');
    return;
  }
  const arrived = `All ${blob.size.toLocaleString('en')} bytes arrived`;
  const obstacle = whyNotHashed(blob.size);
  if (obstacle !== undefined) {
    say('upload-status', `${arrived}; ${obstacle}.`);
    return;
  }
  const same = (await sha256Hex(await blob.arrayBuffer())) === answer.sha256;
  if (same) say('upload-status', `${arrived}, the hashes match.`, 'good');
  else say('upload-status', `${arrived}, but the hashes differ.`, 'bad');
}

export function startUpload() {
  const drop = element('upload-drop');
  const file = element('upload-file');
  element('upload-random').addEventListener('click', () => {
    const bytes = Number(element('upload-size').value);
    upload(randomBlob(bytes), `${byteText(bytes)} of random bytes`);
  });
  element('upload-cancel').addEventListener('click', () => current?.abort());
  file.addEventListener('change', () => {
    const chosen = file.files[0];
    if (chosen !== undefined) upload(chosen, chosen.name).finally(() => (file.value = ''));
  });
  for (const type of ['dragenter', 'dragover']) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.dataset.over = 'true';
    });
  }
  for (const type of ['dragleave', 'drop']) drop.addEventListener(type, () => delete drop.dataset.over);
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    const dropped = event.dataTransfer.files[0];
    if (dropped !== undefined) upload(dropped, dropped.name);
  });
  // A file dropped beside the field would otherwise replace the page.
  for (const type of ['dragover', 'drop']) {
    window.addEventListener(type, (event) => event.preventDefault());
  }
}
