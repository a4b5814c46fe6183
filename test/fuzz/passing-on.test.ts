// A handover on its way through routers, however long and whatever it carries: what the last backend gets is what the first router got.

import test from 'ava';
import fc from 'fast-check';
import type { Handover, RelayHandover } from '#scgi/handover.js';
import { encodeMessage, kindOf, type Message, MessageDecoder } from '#scgi/message.js';
import { passOn } from '#scgi/onward.js';
import { bytesUpTo, decodeEveryWay, header, holds, places } from './wire-inputs.js';

/** The decoded message as a receiver gives it out that trusts its router; nothing asks for the descriptors behind their numbers. */
function receivedFrom(message: Message): Handover {
  const { headers, version, via, earlyBytes, contentLength, relayLength } = message;
  const sender = via?.sender ?? { pid: 4711, uid: 33, gid: 34 };
  const facts = { headers, version: via?.version ?? version, sender, hops: via?.hops ?? 0 };
  const kind = kindOf(message);
  const fds = { passedFd: { fd: 7 }, connection: { fd: 8 } };
  // Behind a message of the plain dialect its body follows, as far as it has come.
  const isPlain = message.dialect === 'plain';
  return {
    ...facts,
    ...fds,
    kind,
    earlyBytes: isPlain ? message.rest : earlyBytes,
    contentLength: relayLength ?? contentLength,
  } as unknown as Handover;
}

function decoded(bytes: Buffer): Message {
  const message = new MessageDecoder().push(bytes);
  if (message === undefined) throw new Error('not whole');
  return message;
}

/** What a sender has said that is no router's to say again. */
const own = ({ headers }: Pick<Handover, 'headers'>): [string, string][] =>
  [...headers.entries()].filter(
    ([name]) => !/^(?:CONTENT_LENGTH|SCGI|FD_PASS_(?:VERSION|KEEPALIVE|RELAY|VIA.*))$/.test(name),
  );

test('a handover that is passed on, and on again, arrives as it came', (t) => {
  const property = fc.property(
    fc.array(header, { maxLength: 20 }),
    fc.constantFrom('fd_pass' as const, 'plain' as const),
    fc.constantFrom(undefined, '1' as const),
    fc.constantFrom(undefined, '0' as const, '1' as const),
    bytesUpTo(200),
    fc.integer({ min: 1, max: 99 }),
    places,
    (headers, dialect, version, ktls, body, hops, at) => {
      const all: [string, string][] = [['FD_PASS_KEEPALIVE', '1'], ...headers];
      if (version !== undefined) all.unshift(['FD_PASS_VERSION', version]);
      if (ktls !== undefined) all.push(['KTLS_RX', ktls]);
      const first = receivedFrom(decoded(encodeMessage({ headers: all, earlyBytes: body, dialect })));
      let handover = first;
      let bytes: Buffer = Buffer.alloc(0);
      for (let hop = 0; hop < hops; hop++) {
        const onward = passOn(handover);
        const sent = [['FD_PASS_VERSION', '1'] as const, ...onward.headers];
        bytes = encodeMessage({ headers: sent, earlyBytes: onward.earlyBytes ?? Buffer.alloc(0) });
        handover = receivedFrom(decoded(bytes));
        if (handover.hops !== hop + 1) throw new Error(`${handover.hops} hops`);
      }
      const {
        headers: firstHeaders,
        hops: none,
        contentLength: firstLength,
        ...firstRest
      } = first as RelayHandover;
      const {
        headers: lastHeaders,
        hops: many,
        contentLength: lastLength,
        ...lastRest
      } = handover as RelayHandover;
      return (
        decodeEveryWay(bytes, at).kind === 'message' &&
        JSON.stringify(own({ headers: firstHeaders })) === JSON.stringify(own({ headers: lastHeaders })) &&
        JSON.stringify(firstRest) === JSON.stringify(lastRest) &&
        (first.kind !== 'relay' || firstLength === lastLength) &&
        many - none === hops
      );
    },
  );
  holds(t, property);
});
