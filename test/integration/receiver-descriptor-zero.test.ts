// Descriptor 0 is a descriptor like any other, in every role: passed, sent, the UNIX connection, the listening socket.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const SCRIPT = fileURLToPath(new URL('../helpers/descriptor-zero.js', import.meta.url));

const roles: Record<string, unknown> = {
  'full: passed': { answer: '200', wasZero: true },
  'partial: passed': { answer: '200', wasZero: true },
  'partial: the UNIX connection': { answer: '200', wasZero: true },
  'relay: the UNIX connection': { answer: '200', wasZero: true },
  'partial, passed on': { answer: '200', wasZero: true },
  'relay, passed on': { answer: '200', wasZero: true },
  'sent: the second descriptor': { answer: '200', wasZero: true },
  sent: { answer: '200', wasZero: true },
  'refused and closed': { answer: '', wasZero: true },
  listening: { answer: '200', wasZero: true },
};

test('a process whose descriptor 0 is free serves with it', async (t) => {
  const child = spawn(process.execPath, [SCRIPT], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = await once(child, 'close');
  t.is(code, 0);
  t.deepEqual(JSON.parse(output), roles);
});
