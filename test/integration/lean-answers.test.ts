// Answers without a socket and a parser: their bytes, their events and their states are those of http.Server, for the first request of a
// connection and for one behind it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { finished, PassThrough, Readable } from 'node:stream';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { bothWays, flags, LAST, note, request, type Scene, withoutDate } from '../helpers/lean-scene.js';

guardDescriptors(test);

type Answer = (response: ServerResponse, request: IncomingMessage, scene: Scene) => unknown;

const say = (scene: Scene, line: string): void => void scene.seen.push(line);
const thrown = (scene: Scene, act: () => unknown): void => {
  try {
    act();
    say(scene, 'nothing thrown');
  } catch (error) {
    say(scene, `throws ${(error as NodeJS.ErrnoException).code}`);
  }
};

/** An exception ends the answer. */
function attempt(scene: Scene, act: () => unknown, response?: ServerResponse): unknown {
  try {
    return act();
  } catch (error) {
    say(scene, `failed ${(error as NodeJS.ErrnoException).code}`);
    return response?.destroy();
  }
}

/** The connection goes on after each of them. */
const answers: Record<string, Answer> = {
  'a string': (response) => response.end('text'),
  'a string beyond ASCII': (response) => response.end('Füße 🦊'),
  'a string in latin1': (response) => response.end('Füße', 'latin1'),
  'a string in hex': (response) => response.end('48656c6c6f', 'hex'),
  'a string in utf16le': (response) => response.end('Füße', 'utf16le'),
  bytes: (response) => response.end(Buffer.from([0, 1, 254, 255])),
  'a Uint8Array': (response) => response.end(new Uint8Array([65, 66])),
  nothing: (response) => response.end(),
  'an empty string': (response) => response.end(''),
  'no bytes': (response) => response.end(Buffer.alloc(0)),
  'with a callback': (response, _request, scene) => response.end('text', () => say(scene, 'called back')),
  'with encoding and callback': (response, _request, scene) =>
    response.end('text', 'utf8', () => say(scene, 'called back')),
  'a callback alone': (response, _request, scene) => response.end(() => say(scene, 'called back')),
  'bytes with a callback': (response, _request, scene) =>
    response.end(Buffer.from('x'), () => say(scene, 'called back')),
  'a status': (response) => {
    response.statusCode = 404;
    response.statusMessage = 'Nowhere';
    response.end('no');
  },
  'fields in their order and spelling': (response) => {
    response.setHeader('x-LOWER', 'a');
    response.setHeader('ETag', '"b"');
    response.setHeader('content-type', 'text/plain');
    response.end('x');
  },
  writeHead: (response) => response.writeHead(201, 'Made', { 'X-A': 'b', 'X-C': ['d', 'e'] }).end('x'),
  'writeHead with an array': (response) => response.writeHead(200, ['X-A', 'b', 'X-A', 'c']).end('x'),
  'writeHead and fields before it': (response) => {
    response.setHeader('X-A', 'a');
    response.writeHead(200, { 'X-B': 'b' }).end(Buffer.from('x'));
  },
  'a field in latin1': (response) => response.setHeader('X-A', 'caf\xe9').end('x'),
  'a field in latin1, and a body in UTF-8': (response) => response.setHeader('X-A', 'caf\xe9').end('é'),
  'a field in latin1, and bytes': (response) => response.setHeader('X-A', 'caf\xe9').end(Buffer.from('é')),
  cookies: (response) => response.setHeader('Set-Cookie', ['a=b', 'c=d']).end('x'),
  'appended fields': (response) => response.appendHeader('X-A', 'b').appendHeader('X-A', 'c').end('x'),
  'without a date': (response) => {
    response.sendDate = false;
    response.end('x');
  },
  'a length of its own': (response) => response.setHeader('Content-Length', 4).end('text'),
  'chunked at its wish': (response) => response.setHeader('Transfer-Encoding', 'chunked').end('text'),
  'keep-alive at its wish': (response) => response.setHeader('Connection', 'keep-alive').end('text'),
  '204': (response) => response.writeHead(204).end(),
  '204 with a body that is not sent': (response) => response.writeHead(204).end('nothing'),
  '304': (response) => response.writeHead(304, { ETag: '"a"' }).end(),
  '304 with a length': (response) => response.writeHead(304, { 'Content-Length': 7 }).end(),
  'two writes': (response) => {
    response.write('one');
    response.write(Buffer.from('two'));
    response.end('three');
  },
  'a write and an end without anything': (response) => {
    response.write('one');
    response.end();
  },
  'writes with callbacks': (response, _request, scene) => {
    response.write('one', () => say(scene, 'first'));
    response.write('two', 'utf8', () => say(scene, 'second'));
    response.end('three', () => say(scene, 'third'));
  },
  'writes in turns': async (response) => {
    for (const part of ['one', 'two', 'three']) {
      response.write(part);
      await new Promise(setImmediate);
    }
    response.end();
  },
  'writes of a known length': (response) => {
    response.writeHead(200, { 'Content-Length': 6 });
    response.write('one');
    response.end('two');
  },
  corked: (response) => {
    response.cork();
    response.write('one');
    response.write('two');
    response.uncork();
    response.end();
  },
  'an end while it is corked': (response) => {
    response.cork();
    response.write('one');
    response.end('two');
  },
  'a stream': (response) => Readable.from(['one', 'two', 'three']).pipe(response),
  'a stream that comes later': (response) => {
    const stream = new PassThrough();
    stream.pipe(response);
    setImmediate(() => stream.end('late'));
  },
  'flushed fields': (response) => {
    response.setHeader('X-A', 'b');
    response.flushHeaders();
    setImmediate(() => response.end('late'));
  },
  'flushed fields and an end at once': (response) => {
    response.flushHeaders();
    response.end('x');
  },
  'early hints': (response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('x');
  },
  'a process before it': (response) => {
    response.writeProcessing();
    response.end('x');
  },
  'a continue that nobody asked for': (response) => {
    response.writeContinue();
    response.end('x');
  },
  trailers: (response) => {
    response.writeHead(200, { Trailer: 'X-Sum' });
    response.write('text');
    response.addTrailers({ 'X-Sum': '1' });
    response.end();
  },
  'trailers of one write': (response) => {
    response.writeHead(200, { Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked' });
    response.addTrailers({ 'X-Sum': '1' });
    response.end('x');
  },
  'in the next tick': (response) => process.nextTick(() => response.end('x')),
  'after a promise': async (response) => {
    await null;
    response.end('x');
  },
  'in the next turn': (response) => setImmediate(() => response.end('x')),
  'after some turns': (response) => setTimeout(() => response.end('x'), 10),
  'end() twice': (response, _request, scene) => {
    response.end('x');
    thrown(scene, () => response.end('y'));
  },
  'end() twice with callbacks': (response, _request, scene) => {
    response.end('x', () => say(scene, 'first'));
    response.end((error?: NodeJS.ErrnoException) => say(scene, `second ${error?.code}`));
    response.on('finish', () =>
      response.end((error?: NodeJS.ErrnoException) => say(scene, `third ${error?.code}`)),
    );
  },
  'a write behind the end': (response, _request, scene) => {
    response.end('x');
    say(
      scene,
      `${response.write('y', (error) => say(scene, `wrote ${(error as NodeJS.ErrnoException)?.code}`))}`,
    );
  },
  'a field behind the end': (response, _request, scene) => {
    response.end('x');
    thrown(scene, () => response.setHeader('X-A', 'b'));
    thrown(scene, () => response.writeHead(500));
  },
  'what cannot be sent': (response, _request, scene) => {
    thrown(scene, () => response.end({} as string));
    thrown(scene, () => response.setHeader('X-A', 'a\nb'));
    thrown(scene, () => response.writeHead(99));
    thrown(scene, () => response.write(null as unknown as string));
    response.end('x');
  },
  'destroy() behind the end': (response) => {
    response.end('x');
    setImmediate(() => response.destroy());
  },
  'a timeout that is not reached': (response) => response.setTimeout(60_000).end('x'),
  'a timeout of the request': (response, request) => {
    request.setTimeout(60_000, () => {});
    response.end('x');
  },
  'end() that is not its own': (response) => {
    const { end } = response;
    response.end = function (this: ServerResponse, ...args: never[]) {
      this.setHeader('X-Patched', 'yes');
      return Reflect.apply(end, this, args);
    } as typeof end;
    response.end('x');
  },
  'write(), end() and writeHead() that are not its own, as of a compressor': (response) => {
    const { write, end, writeHead } = response;
    response.writeHead = function (this: ServerResponse, ...args: never[]) {
      this.removeHeader('Content-Length');
      return Reflect.apply(writeHead, this, args);
    } as typeof writeHead;
    const coder = new PassThrough();
    coder.on('data', (chunk: Buffer) => {
      if (write.call(response, chunk, 'utf8') === false) coder.pause();
    });
    coder.on('end', () => end.call(response, undefined as never, 'utf8'));
    response.write = ((chunk: string) => coder.write(chunk)) as typeof write;
    response.end = ((chunk: string) => {
      coder.end(chunk);
      return response;
    }) as typeof end;
    response.write('one');
    response.end('two');
  },
  'a prototype that is not its own': (response, request) => {
    Object.setPrototypeOf(response, Object.create(Object.getPrototypeOf(response) as object));
    Object.setPrototypeOf(request, Object.create(Object.getPrototypeOf(request) as object));
    response.end('x');
  },
  'and finished() waits': (response, request, scene) => {
    finished(response, (error) => say(scene, `finished ${error?.message} ${flags(request, response)}`));
    response.end('x');
  },
  'and finished() of the request waits': (response, request, scene) => {
    finished(request, (error) => say(scene, `request finished ${error?.message}`));
    response.end('x');
  },
  'and the request is read to its end': (response, request, scene) => {
    request.on('end', () => {
      say(scene, `request ended`);
      response.end('x');
    });
    request.resume();
  },
  'and the request is iterated': async (response, request, scene) => {
    for await (const chunk of request) say(scene, `read ${chunk}`);
    say(scene, 'iterated');
    response.end('x');
  },
  'and the request is read': (response, request, scene) => {
    request.on('readable', () => say(scene, `read ${request.read()}`));
    request.on('end', () => response.end('x'));
  },
  'and the request is piped': (response, request) => request.pipe(response),
  'and the request is read after the answer': (response, request, scene) => {
    response.end('x');
    setImmediate(() => {
      request.on('end', () => say(scene, 'request ended'));
      request.resume();
    });
  },
  'and the request is paused': (response, request) => {
    request.pause();
    response.end('x');
  },
  'behind a look at the socket': (response, { socket }, scene) => {
    say(scene, `${socket.remoteAddress} ${socket.localAddress} ${socket.readyState} ${socket.destroyed}`);
    response.end('x');
  },
  'and the socket is listened to before': (response, { socket }, scene) => {
    socket.once('close', () => say(scene, 'socket closed'));
    response.end('x');
  },
  'and the socket is listened to after': (response, { socket }, scene) => {
    response.end('x');
    socket.once('close', () => say(scene, 'socket closed'));
  },
  'and the socket is listened to later': (response, { socket }, scene) => {
    response.end('x');
    setImmediate(() => socket.once('close', () => say(scene, 'socket closed')));
  },
  'and the socket is listened to between the parts': (response, { socket }, scene) => {
    response.write('one');
    socket.once('close', () => say(scene, 'socket closed'));
    response.end('two');
  },
  'and the socket has a timeout that is not reached': (response, { socket }) => {
    socket.setTimeout(60_000);
    response.end('x');
  },
  'and the socket is set up': (response, { socket }) => {
    socket.setNoDelay(false).setKeepAlive(true).setNoDelay(true);
    response.end('x');
  },
  'and the socket is corked': (response, { socket }) => {
    socket.cork();
    response.end('x');
    setImmediate(() => socket.uncork());
  },
  '1 MB as a string': (response) => response.end('0123456789abcdef'.repeat(65_536)),
  '1 MB as bytes': (response) => response.end(Buffer.alloc(1 << 20, 'abc')),
  '20 MB as bytes': (response) => response.end(Buffer.alloc(20 << 20, 'abc')),
  '20 MB beyond ASCII': (response) => response.end('🦊 fox '.repeat(2 << 20)),
  '1 MB in writes without a look at what they say': (response) => {
    for (let count = 0; count < 64; count++) response.write('0123456789abcdef'.repeat(1024));
    response.end();
  },
};

/** They end the connection. */
const lastAnswers: Record<string, Answer> = {
  'Connection: close': (response) => response.setHeader('Connection', 'close').end('bye'),
  'Connection: close in writeHead': (response) => response.writeHead(200, { Connection: 'close' }).end('bye'),
  shouldKeepAlive: (response) => {
    response.shouldKeepAlive = false;
    response.end('bye');
  },
  'Connection: close of a stream': (response) => {
    response.setHeader('Connection', 'close');
    Readable.from(['one', 'two']).pipe(response);
  },
  'no length, not chunked': (response) => {
    response.removeHeader('Transfer-Encoding');
    response.useChunkedEncodingByDefault = false;
    response.write('one');
    response.end('two');
  },
  '20 MB and close': (response) =>
    response.setHeader('Connection', 'close').end(Buffer.alloc(20 << 20, 'abc')),
  'destroy() before anything': (response) => response.destroy(),
  'destroy() with an error': (response) => response.destroy(new Error('enough')),
  'destroy() at the end, at once': (response) => {
    response.setHeader('Connection', 'close').end('bye');
    response.destroy();
  },
  'destroy() of the request': (_response, request) => request.destroy(),
  'destroy() of the request with an error': (_response, request) => request.destroy(new Error('enough')),
  'destroy() of the socket': (_response, { socket }) => socket.destroy(),
  'destroySoon() of the socket': (_response, { socket }) => socket.destroySoon(),
  'destroy() of the socket in the next turn': (_response, { socket }) => setImmediate(() => socket.destroy()),
  'end() of the socket': (_response, { socket }) => socket.end(),
  'an answer by hand': (_response, { socket }) =>
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'),
  'an answer, and end() of the socket': (response, { socket }) => {
    response.end('x');
    socket.end();
  },
  'an answer, and end() of the socket when it is sent': (response, { socket }) => {
    response.end('x', () => socket.end());
  },
  'an answer, and destroy() of the socket when it is sent': (response, { socket }) => {
    response.end('x', () => socket.destroy());
  },
  'a part, and destroy() of the socket when it is sent': (response, { socket }) => {
    response.write('part', () => socket.destroy());
  },
  'a listener of the socket, and close': (response, { socket }, scene) => {
    socket.on('close', (hadError) => say(scene, `socket closed ${hadError}`));
    socket.on('end', () => say(scene, 'socket ended'));
    socket.on('finish', () => say(scene, 'socket finished'));
    response.setHeader('Connection', 'close').end('bye');
  },
  'a listener of the socket after it, and close': (response, { socket }, scene) => {
    response.setHeader('Connection', 'close').end('bye');
    socket.on('close', (hadError) => say(scene, `socket closed ${hadError}`));
  },
  'reached timeout of the response': (response, _request, scene) => {
    response.setTimeout(20, () => {
      say(scene, 'timeout');
      response.destroy();
    });
  },
  'reached timeout of the request': (_response, request, scene) => {
    request.setTimeout(20, () => {
      say(scene, 'timeout');
      request.destroy();
    });
  },
  'reached timeout of the socket, which nobody hears': (response) => {
    response.setTimeout(20);
  },
};

/** Plays the second request, if it is one. */
async function reach(scene: Scene, place: 'first' | 'second', method: string) {
  if (place === 'first') return scene.hand('/x', { method });
  const client = await scene.hand('/before');
  await scene.saw('before');
  await client.readUntil('served');
  await client.send(request('/x', '', method));
  return client;
}

function handle(scene: Scene, answer: Answer, both: boolean): void {
  scene.handler = (request, response) => {
    if (request.url !== '/x') {
      if (request.url === '/before') response.once('close', () => say(scene, 'before'));
      return response.end('served');
    }
    note(scene, request, response, both);
    const returned = attempt(scene, () => answer(response, request, scene), response);
    say(scene, `returned ${flags(request, response)}`);
    return returned;
  };
}

for (const place of ['first', 'second'] as const) {
  for (const [what, answer] of Object.entries(answers)) {
    for (const method of ['GET', 'HEAD']) {
      if (method === 'HEAD' && /request|socket|MB|behind|turn|trailers/.test(what)) continue;
      bothWays(test, `${method}, ${place} request: ${what}`, async (scene) => {
        handle(scene, answer, false);
        const client = await reach(scene, place, method);
        await scene.saw('response close');
        await client.send(LAST);
        return withoutDate(await client.readToEnd());
      });
    }
    bothWays(test, `${place} request, which is listened to: ${what}`, async (scene) => {
      handle(scene, answer, true);
      const client = await reach(scene, place, 'GET');
      await scene.saw('response close');
      await client.send(LAST);
      return withoutDate(await client.readToEnd());
    });
  }

  for (const [what, answer] of Object.entries(lastAnswers)) {
    for (const both of [false, true]) {
      bothWays(
        test,
        `${place} request, the last${both ? ', which is listened to' : ''}: ${what}`,
        async (scene) => {
          handle(scene, answer, both);
          const client = await reach(scene, place, 'GET');
          const received = withoutDate(await client.readToEnd());
          await scene.saw('response close');
          return received;
        },
      );
    }
  }
}

for (const [what, answer] of Object.entries({ ...answers, ...lastAnswers })) {
  bothWays(
    test,
    `without keep-alive: ${what}`,
    async (scene) => {
      handle(scene, answer, false);
      const client = await scene.hand('/x');
      const received = withoutDate(await client.readToEnd());
      await scene.saw('response close');
      return received;
    },
    { options: { keepAlive: false } },
  );
}

for (const [what, write] of Object.entries<Answer>({
  'a write': (response) => response.write('part'),
  'a write of a known length': (response) => {
    response.setHeader('Content-Length', 8);
    response.write('part');
  },
  'flushed fields, and a write': (response) => {
    response.flushHeaders();
    response.write('part');
  },
  'a write of bytes': (response) => response.write(Buffer.from('part')),
  'a write while it is corked': (response) => {
    response.cork();
    response.write('part');
    response.uncork();
  },
  'a write in the next turn': (response) => setImmediate(() => response.write('part')),
  'a write in the next turn, after fields': (response) => {
    response.flushHeaders();
    setImmediate(() => response.write('part'));
  },
  'a pipe': (response) => {
    const stream = new PassThrough();
    stream.write('part');
    stream.pipe(response);
  },
})) {
  bothWays(test, `what is written is there before the end: ${what}`, async (scene) => {
    let answering: ServerResponse | undefined;
    handle(
      scene,
      (response, request) => {
        answering = response;
        return write(response, request, scene);
      },
      false,
    );
    const client = await scene.hand('/x');
    await client.readUntil('part');
    answering?.end('done');
    await scene.saw('response close');
    await client.send(LAST);
    return withoutDate(await client.readToEnd());
  });
}

bothWays(test, 'the client says Connection: close', async (scene) => {
  handle(scene, (response) => response.end('x'), true);
  const client = await scene.hand('/x', { headers: { HTTP_CONNECTION: 'close' } });
  return withoutDate(await client.readToEnd());
});
