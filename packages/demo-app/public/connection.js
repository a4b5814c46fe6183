// The card "This connection", and the picture above it, which it labels with what /connection says.
import { at, element, say, showState } from './page-elements.js';

/** How each kind of handover is told. */
const KINDS = {
  full: {
    pill: 'Full handover',
    head: 'first request’s head',
    fd: 'the descriptor',
    direct: 'everything else: one TCP connection, end to end',
    caption:
      'Full handover: the front door has let go. Reading and writing happen on your own socket, in this process.',
  },
  partial: {
    pill: 'Partial handover',
    head: 'what you send',
    fd: 'the descriptor, and what you send',
    direct: 'what you receive: straight from this process',
    lead: 'Your browser connected to a front door. It read the head of your first request, decided who should answer, and passed the descriptor of your very socket to this Node.js process. Answers go out on that socket; what you send over TLS is decrypted by the front door, which passes it on.',
    caption:
      'Partial handover: answers leave on your own socket, what you send is decrypted by the front door first.',
  },
  relay: {
    pill: 'Relay',
    head: 'your connection',
    fd: 'relayed, both ways',
    direct: '',
    title: 'The front door stays for this one.',
    lead: 'A connection that can be handed over is passed to this Node.js process as a descriptor, and the front door steps aside. Yours cannot: over HTTP/2 many requests share it, and HTTP/1.0 ends it in its own way. So the front door carries the bytes, and the same handlers answer.',
    caption:
      'Relay: this connection could not be handed over, so the front door carries it. The same handlers answer.',
  },
  none: {
    pill: 'No handover',
    title: 'No front door here, and it still works.',
    head: '',
    fd: '',
    lead: 'With a front door, your browser would have connected there: it reads the head of the first request, decides who should answer, and passes the descriptor of your very socket to this Node.js process. Here there is none: the application runs unchanged on an ordinary server.',
    direct: 'an ordinary TCP connection',
    caption:
      'This process accepted your connection itself: there is no front door before it, and nothing was handed over.',
  },
};

function endpoint(place) {
  if (place?.address === undefined) return undefined;
  if (place.family === 'unix') return `unix:${place.address}`;
  return place.address.includes(':') ? `[${place.address}]:${place.port}` : `${place.address}:${place.port}`;
}

function tlsText({ kernelTx, kernelRx }) {
  if (kernelTx && kernelRx) return 'in the kernel';
  return kernelTx ? 'in the kernel when sending' : 'at the front door';
}

function facts(info) {
  const client = endpoint(info.client);
  const peer = endpoint(info.peer);
  return [
    ['Handover', info.handover],
    ['Client', client],
    // The same as the client, unless a proxy before the front door speaks for someone else.
    ['Peer', peer === client ? undefined : peer],
    ['Local address', endpoint(info.local)],
    ['Came in by', info.ingress && (info.ingress.name ?? `interface ${info.ingress.ifindex}`)],
    ['TLS', info.tls && tlsText(info.tls)],
    ['Request on it', info.requestNumber && `no. ${info.requestNumber}`],
    ['Early bytes', info.earlyBytes],
    ['Passed by', info.sender && `pid ${info.sender.pid}, uid ${info.sender.uid}`],
    ['Served by', `pid ${info.server.pid}`],
  ].filter(([, value]) => value !== undefined);
}

function show(info) {
  const kind = KINDS[info.handover] ?? KINDS.none;
  element('path').dataset.handover = info.handover;
  element('path-client').textContent = endpoint(info.client) ?? 'address unknown';
  element('path-door').textContent = info.sender ? `pid ${info.sender.pid}` : 'not here';
  element('path-here').textContent = `pid ${info.server.pid}`;
  element('hop-head-text').textContent = kind.head;
  element('hop-fd-text').textContent = kind.fd;
  element('direct-text').textContent = kind.direct;
  element('path-caption').textContent = kind.caption;
  // What the page itself says is true of a full handover.
  if (kind.title !== undefined) element('hero-title').textContent = kind.title;
  if (kind.lead !== undefined) element('hero-lead').textContent = kind.lead;
  if (info.message !== undefined) element('connection-lead').textContent = info.message;
  element('connection-facts').replaceChildren(
    ...facts(info).flatMap(([name, value]) => {
      const term = document.createElement('dt');
      const detail = document.createElement('dd');
      term.textContent = name;
      detail.textContent = String(value);
      return [term, detail];
    }),
  );
  showState('how-pill', 'how-pill-text', 'live', kind.pill);
}

async function ask() {
  const button = element('connection-again');
  button.disabled = true;
  try {
    const answer = await fetch(at('connection'), { cache: 'no-store' });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    say('connection-status', `Asked at ${new Date().toLocaleTimeString()}`);
  } catch (error) {
    say('connection-status', `No answer: ${error.message}`, 'bad');
    showState('how-pill', 'how-pill-text', 'down', 'Not reachable');
  } finally {
    button.disabled = false;
  }
}

export function startConnection() {
  element('connection-again').addEventListener('click', ask);
  ask();
}
