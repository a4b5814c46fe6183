// More descriptors beside a message than the addon would send: Python does.
import { spawn } from 'node:child_process';
import { once } from 'node:events';

const SCRIPT = [
  'import os, socket, sys',
  's = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])',
  'fds = [s.fileno()] * int(sys.argv[2])',
  'socket.send_fds(s, [sys.stdin.buffer.read()], fds)',
  'sys.stdout.buffer.write(s.recv(1))',
].join('\n');

/** Sends a message with so many connected UNIX sockets beside it, and resolves with what comes back. */
export async function sendMany(path: string, message: Uint8Array, count: number): Promise<string> {
  const child = spawn('python3', ['-c', SCRIPT, path, String(count)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let answer = '';
  child.stdout.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  child.stdin.end(message);
  await once(child, 'close');
  return answer;
}
