// Starts every part of the page. Each part owns one card; a part that fails leaves the others running.
import { startChat } from './chat.js';
import { startClock } from './clock.js';
import { startConnection } from './connection.js';
import { startDownload } from './download.js';
import { startHello } from './hello.js';
import { element } from './page-elements.js';
import { startUpload } from './upload.js';

const origin = new URL('.', location.href).href;

element('shell-code').textContent = [
  `curl ${origin}connection`,
  `curl -d name=value ${origin}echo`,
  `curl -T some-large-file ${origin}echo`,
  `curl -N ${origin}clock`,
  `curl -o 1gb.bin "${origin}download?bytes=1000000000"`,
].join('\n');

for (const start of [startConnection, startHello, startUpload, startDownload, startClock, startChat]) {
  try {
    start();
  } catch (error) {
    console.error(error);
  }
}
