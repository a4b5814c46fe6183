// One request by curl, for what Node.js's own client does not speak: HTTP/1.0, HTTP/2 by ALPN, client certificates.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface CurlAnswer {
  status: number;
  /** As the client saw it: `1.1`, `2`. */
  version: string;
  body: string;
}

/** Does not mind whose certificate the server has. */
export async function curl(url: string, ...options: string[]): Promise<CurlAnswer> {
  const format = '\n%{http_code} %{http_version}';
  const { stdout } = await run('curl', ['-s', '-k', '--max-time', '20', '-w', format, ...options, url]);
  const at = stdout.lastIndexOf('\n');
  const [status = '', version = ''] = stdout.slice(at + 1).split(' ');
  return { status: Number(status), version, body: stdout.slice(0, at) };
}
