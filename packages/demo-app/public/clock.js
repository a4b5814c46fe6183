// The card "Clock": the event stream, its state, and whether any second was lost.
import { at, element, showState } from './page-elements.js';

const SHOWN_TICKS = 30;
const MAX_BACKOFF_MS = 30_000;

let source;
let backoffMs = 1_000;
let retry;
/** What came; the stream goes on across EventSource objects of this page. */
let lastId;
let ticks = 0;
let missing = 0;

const state = (kind, text) => showState('clock-pill', 'clock-state', kind, text);

function drawTick(kind) {
  const strip = element('clock-ticks');
  strip.firstElementChild.remove();
  const tick = document.createElement('i');
  if (kind !== undefined) tick.dataset.kind = kind;
  strip.append(tick);
}

function onTick(event) {
  const at = new Date(event.data);
  const id = Number(event.lastEventId);
  if (lastId !== undefined && id > lastId + 1) {
    missing += id - lastId - 1;
    drawTick(undefined);
  }
  lastId = id;
  ticks += 1;
  drawTick(Date.now() - at.getTime() > 1_500 ? 'replayed' : 'live');
  const time = element('clock-time').querySelector('time');
  time.dateTime = event.data;
  time.textContent = at.toLocaleTimeString('en-GB');
  element('clock-date').textContent = event.data;
  const lost = missing === 0 ? 'none missed' : `${missing} missed`;
  element('clock-count').textContent = `${ticks} ${ticks === 1 ? 'event' : 'events'}, ${lost}`;
}

function open() {
  clearTimeout(retry);
  source = new EventSource(at('clock'));
  source.addEventListener('open', () => {
    backoffMs = 1_000;
    state('live', 'Live');
  });
  source.addEventListener('message', onTick);
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CONNECTING) {
      state('waiting', 'Reconnecting…');
      return;
    }
    // An answer that is no event stream ends an EventSource for good; the server may be back later.
    source.close();
    state('down', `Disconnected, next try in ${Math.round(backoffMs / 1000)} s`);
    retry = setTimeout(open, backoffMs);
    backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
  });
}

function pause() {
  clearTimeout(retry);
  source?.close();
  lastId = undefined;
  state('waiting', 'Paused while hidden');
}

export function startClock() {
  element('clock-ticks').replaceChildren(
    ...Array.from({ length: SHOWN_TICKS }, () => document.createElement('i')),
  );
  // Over HTTP/1.1 a browser opens six connections per host for all its tabs: hidden ones must not hold any.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) pause();
    else open();
  });
  if (!document.hidden) open();
}
