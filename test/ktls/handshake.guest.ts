// Clients that speak right behind their last message of the handshake, in one segment with it: OpenSSL has then read records that the
// kernel, which begins to decrypt only after the handshake, will never see.
import { type Facts, sha256, startFront, VERSIONS, withFront } from './passing-front.js';
import { python, type Step } from './tls-clients.js';

const post = (bytes: number): string =>
  `POST /upload HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`;

const factsIn = (received: string): Facts =>
  JSON.parse(received.slice(received.indexOf('{'), received.lastIndexOf('}') + 1));

const requests: Record<string, { steps: Step[]; body: string }> = {
  'a head': { steps: [['write', post(0)], ['send']], body: '' },
  'a head and a body': { steps: [['write', `${post(10)}name=value`], ['send']], body: 'name=value' },
  'a head, and a body in other records': {
    steps: [['write', post(10)], ['write', 'name'], ['write', '=value'], ['send']],
    body: 'name=value',
  },
  'a head and half of the body': {
    steps: [['write', post(10)], ['write', 'name'], ['send'], ['wait', 0.3], ['write', '=value'], ['send']],
    body: 'name=value',
  },
};

const cutRequests: Record<string, { steps: Step[]; body: string }> = {
  'a part of the record of a head': {
    steps: [['write', `${post(10)}name=value`], ['send_but', 20], ['wait', 0.3], ['send']],
    body: 'name=value',
  },
  'a head and a part of the record of its body': {
    steps: [['write', post(10)], ['write', 'name=value'], ['send_but', 20], ['wait', 0.3], ['send']],
    body: 'name=value',
  },
  'a head and 100 kB': {
    steps: [['write', post(100_000) + 'x'.repeat(100_000)], ['send']],
    body: 'x'.repeat(100_000),
  },
};

for (const { version, kind } of VERSIONS) {
  // In TLS 1.2 the client speaks last only when it resumes a session.
  const handshakes: { step: Step; what: string; earlier: number }[] = [
    ...(version === 'TLSv1.3'
      ? [{ step: ['with_handshake'] as const, what: 'the handshake', earlier: 0 }]
      : []),
    { step: ['resume'], what: "a resumed session's handshake", earlier: 1 },
  ];
  for (const { step, what: handshake, earlier } of handshakes) {
    const sessions = (each: 'full' | 'partial') => ({
      tx: earlier + 1,
      rx: (kind === 'full' ? earlier : 0) + (each === 'full' ? 1 : 0),
    });

    for (const [what, { steps, body }] of Object.entries(requests)) {
      withFront(`${version}, ${kind}: ${what}, in one segment with the end of ${handshake}`, async (t) => {
        const { port } = await startFront(t, { kernel: sessions(kind) });
        const { received } = await python(port, version, [step, ...steps, ['read_to_end']]);
        t.like(factsIn(received), { handover: kind, bytes: body.length, sha256: sha256(body) });
      });
    }

    // With a part of a record in its hands, an OpenSSL may choose to decrypt all that follows by itself.
    for (const [what, { steps, body }] of Object.entries(cutRequests)) {
      withFront(`${version}: the end of ${handshake} with ${what}`, async (t) => {
        const kernel = sessions(kind);
        const { port } = await startFront(t, { kernel });
        const { received } = await python(port, version, [step, ...steps, ['read_to_end']]);
        const facts = factsIn(received);
        t.like(facts, { bytes: body.length, sha256: sha256(body) });
        t.not(facts.handover, 'relay');
        kernel.rx = sessions(facts.handover as 'full' | 'partial').rx;
      });
    }
  }
}
