// The card "Hello": how long a small answer takes, seen from the browser.
import { at, element, millisecondText, say } from './page-elements.js';

const REQUESTS = 30;

async function once() {
  const begin = performance.now();
  const answer = await fetch(at('hello'), { cache: 'no-store' });
  const text = await answer.text();
  const ms = performance.now() - begin;
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return { ms, text };
}

function draw(times) {
  const longest = Math.max(...times);
  const bars = element('hello-bars');
  bars.replaceChildren(
    ...times.map((ms) => {
      const bar = document.createElement('i');
      bar.style.height = `${(ms / longest) * 100}%`;
      bar.title = millisecondText(ms);
      return bar;
    }),
  );
  const sorted = times.toSorted((a, b) => a - b);
  element('hello-min').textContent = millisecondText(sorted[0]);
  element('hello-median').textContent = millisecondText(sorted[Math.floor(sorted.length / 2)]);
  element('hello-max').textContent = millisecondText(longest);
  bars.setAttribute(
    'aria-label',
    `${times.length} requests, from ${millisecondText(sorted[0])} to ${millisecondText(longest)}`,
  );
}

async function measure() {
  const button = element('hello-run');
  button.disabled = true;
  say('hello-status', 'Measuring…');
  const times = [];
  try {
    let text = '';
    for (let request = 0; request < REQUESTS; request += 1) {
      const answer = await once();
      times.push(answer.ms);
      text = answer.text;
      draw(times);
    }
    say('hello-status', `Answer: ${text}`, 'good');
  } catch (error) {
    say('hello-status', `Failed after ${times.length} requests: ${error.message}`, 'bad');
  } finally {
    button.disabled = false;
  }
}

export function startHello() {
  element('hello-run').addEventListener('click', measure);
}
