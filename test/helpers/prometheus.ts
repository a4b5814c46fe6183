// A real Prometheus that scrapes one target each second, in each format, with the alert rules of deploy/grafana. Its questions are those of
// Prometheus's HTTP API. Ends with its test.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { Agent, request } from 'undici';
import { root, temporaryFolder } from './fdpass-command.js';
import { until } from './until.js';

/** Scrapes what Prometheus asks for by itself: OpenMetrics. */
export const JOB = 'fdpass';
/** Scrapes the text format of before. */
export const TEXT_JOB = 'fdpass-text';
const LISTENING = /msg="Listening on" address=(\S+)/;
const TIMEOUT_MS = 40_000;
const PAUSE_MS = 100;

export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What is known of an alert rule. */
export interface Rule {
  readonly name: string;
  readonly query: string;
  /** 'ok' once it was evaluated without an error. */
  readonly health: 'unknown' | 'ok' | 'err';
  readonly lastError?: string;
  readonly state: 'inactive' | 'pending' | 'firing';
}

const configuration = (port: number): string => `
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [${root}deploy/grafana/alerts.yml]
scrape_configs:
  - { job_name: ${JOB}, static_configs: [{ targets: ['127.0.0.1:${port}'] }] }
  - { job_name: ${TEXT_JOB}, params: { format: [prometheus] }, static_configs: [{ targets: ['127.0.0.1:${port}'] }] }
`;

export class Prometheus {
  readonly #origin: string;
  readonly #dispatcher = new Agent();

  private constructor(t: ExecutionContext, address: string) {
    this.#origin = `http://${address}`;
    t.teardown(() => this.#dispatcher.destroy());
  }

  /** Resolves when it answers. @param port of the target, on 127.0.0.1 */
  static async start(t: ExecutionContext, port: number): Promise<Prometheus> {
    const folder = temporaryFolder(t, { 'prometheus.yml': configuration(port) });
    const child = spawn(
      'prometheus',
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/data`,
        '--web.listen-address=127.0.0.1:0',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const ended = once(child, 'close');
    t.teardown(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const prometheus = new Prometheus(t, await listeningAddress(child));
    await eventually('Prometheus is ready', async () => (await prometheus.#get('/-/ready')).isOk);
    return prometheus;
  }

  /** The present value of an expression. @throws what is wrong with it */
  async query(expression: string): Promise<Series[]> {
    const { result } = await this.#ask<{ result: { metric: Series['labels']; value: [number, string] }[] }>(
      `query?query=${encodeURIComponent(expression)}`,
    );
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  }

  /** Health of each target by its job: `up`, `down`, `unknown`. */
  async health(): Promise<Record<string, string>> {
    const { activeTargets } = await this.#ask<{
      activeTargets: { labels: { job: string }; health: string; lastError: string }[];
    }>('targets');
    return Object.fromEntries(
      activeTargets.map(({ labels, health, lastError }) => [labels.job, lastError || health]),
    );
  }

  /** What a target says it tells: the type by the name of the metric. */
  async types(job: string): Promise<Map<string, string>> {
    const target = encodeURIComponent(`{job="${job}"}`);
    const metadata = await this.#ask<{ metric: string; type: string }[]>(
      `targets/metadata?match_target=${target}`,
    );
    return new Map(metadata.map(({ metric, type }) => [metric, type]));
  }

  labelValues(label: string, series: string): Promise<string[]> {
    return this.#ask(`label/${label}/values?match[]=${encodeURIComponent(series)}`);
  }

  async rules(): Promise<Rule[]> {
    const { groups } = await this.#ask<{ groups: { rules: Rule[] }[] }>('rules');
    return groups.flatMap(({ rules }) => rules);
  }

  async #ask<Data>(question: string): Promise<Data> {
    const { isOk, text } = await this.#get(`/api/v1/${question}`);
    if (!isOk) throw new Error(`Prometheus answered: ${text}`);
    return JSON.parse(text).data;
  }

  async #get(path: string): Promise<{ isOk: boolean; text: string }> {
    const { statusCode, body } = await request(`${this.#origin}${path}`, { dispatcher: this.#dispatcher });
    return { isOk: statusCode === 200, text: await body.text() };
  }
}

async function listeningAddress(child: ChildProcess): Promise<string> {
  let log = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  await until('Prometheus listens', () => LISTENING.test(log) || child.exitCode !== null);
  const [, address] = LISTENING.exec(log) ?? [];
  if (address === undefined) throw new Error(`Prometheus ended: ${log}`);
  return address;
}

/** Asks again until it is so. @throws after 40 seconds, with `what` */
export async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + TIMEOUT_MS;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${TIMEOUT_MS} ms in vain until ${what}`);
    await delay(PAUSE_MS);
  }
}

/** What promtool has to say; nothing is good. */
export function promtool(args: readonly string[], input = ''): string {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, {
    input,
    encoding: 'utf8',
    timeout: 30_000,
  });
  return status === 0 ? stderr : `${error ?? ''}${stdout}${stderr}exit code ${status}`;
}
