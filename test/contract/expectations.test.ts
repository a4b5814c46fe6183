// Expect: who tells a client to go on, or not to, with the body of its request.
import type { RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { connectionSubjects, subjects } from './subjects.js';

guardDescriptors(test);

const HOST = 'Host: example.test\r\n';
const echo: RequestListener = async (request, response) => response.end(await text(request));

for (const subject of subjects) {
  test(`${subject.name}: without a listener to checkContinue the client is told to go on`, async (t) => {
    const { connect } = await subject.start(t, echo);
    const client = await connect();
    await client.send(`POST / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`);
    t.is((await readAnswer(client)).status, 100);
    const answer = await exchange(client, 'body');
    t.is(answer.status, 200);
    t.is(answer.body, 'body');
  });
}

for (const subject of connectionSubjects) {
  test(`${subject.name}: a listener to checkContinue decides whether the client goes on`, async (t) => {
    const { connect } = await subject.start(t, echo, {}, (server) => {
      server.on('checkContinue', (request, response) => {
        if (request.url === '/no') return response.writeHead(417).end();
        response.writeContinue();
        return server.emit('request', request, response);
      });
    });
    const expecting = (path: string): string =>
      `POST ${path} HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`;
    const client = await connect();
    t.is((await exchange(client, expecting('/yes'))).status, 100);
    t.is((await exchange(client, 'body')).body, 'body');
    t.is((await exchange(await connect(), expecting('/no'))).status, 417);
  });

  test(`${subject.name}: another expectation is 417, or for a listener to checkExpectation`, async (t) => {
    const head = `GET / HTTP/1.1\r\n${HOST}Expect: a miracle\r\n\r\n`;
    const strict = await subject.start(t, (_request, response) => response.end());
    t.is((await exchange(await strict.connect(), head)).status, 417);
    const lenient = await subject.start(t, undefined, {}, (server) => {
      server.on('checkExpectation', (request, response) => response.end(request.headers.expect));
    });
    t.is((await exchange(await lenient.connect(), head)).body, 'a miracle');
  });
}
