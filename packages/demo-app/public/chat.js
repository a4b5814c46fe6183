// The card "Chat": one WebSocket, opened again after a loss. A message is plain text, "name: what was said".
import { at, element, showState } from './page-elements.js';

const MAX_SHOWN = 200;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15_000;

const name = `guest-${Math.random().toString(36).slice(2, 6).padEnd(4, '0')}`;
let socket;
let backoffMs = FIRST_BACKOFF_MS;
let retry;

const state = (kind, text) => showState('chat-pill', 'chat-state', kind, text);

function show(message) {
  const log = element('chat-log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const split = /^(guest-[a-z0-9]{4}): (.*)$/s.exec(message);
  const own = split?.[1] === name;
  const line = document.createElement('li');
  if (own) line.dataset.own = 'true';
  const author = document.createElement('b');
  author.textContent = own ? 'you' : (split?.[1] ?? 'someone');
  line.append(author, split?.[2] ?? message);
  log.append(line);
  while (log.children.length > MAX_SHOWN) log.firstElementChild.remove();
  // Whoever scrolled up is reading.
  if (atEnd || own) log.scrollTop = log.scrollHeight;
}

function connect() {
  clearTimeout(retry);
  const url = at('chat');
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(url);
  state('waiting', 'Connecting…');
  socket.addEventListener('open', () => {
    backoffMs = FIRST_BACKOFF_MS;
    element('chat-send').disabled = false;
    state('live', `Connected as ${name}`);
  });
  socket.addEventListener('message', (event) => show(event.data));
  socket.addEventListener('close', () => {
    element('chat-send').disabled = true;
    const waitMs = backoffMs * (0.75 + Math.random() / 2); // so that not everyone comes back at once
    state('down', `Disconnected, next try in ${Math.max(1, Math.round(waitMs / 1000))} s`);
    retry = setTimeout(connect, waitMs);
    backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
  });
}

export function startChat() {
  element('chat-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const field = element('chat-text');
    const text = field.value.trim();
    if (text === '' || socket.readyState !== WebSocket.OPEN) return;
    socket.send(`${name}: ${text}`);
    field.value = '';
  });
  window.addEventListener('online', () => {
    if (socket.readyState === WebSocket.CLOSED) connect();
  });
  connect();
}
