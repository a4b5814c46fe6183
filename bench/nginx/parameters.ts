// How much is done in a run: the whole of it, or a quick one that shows that everything works and about what comes out.
import { parseArgs } from 'node:util';

export interface Parameters {
  /** Of requests and transfers, after one that does not count. */
  readonly rounds: number;
  /** Of idle clients: each starts new processes, and memory is less noisy than time. */
  readonly idleRounds: number;
  /** Of one load of requests on one way; whole, for wrk. */
  readonly seconds: number;
  /** Of one measurement: a single one is over in a few hundredths of a second. */
  readonly transfers: number;
  readonly downloadBytes: number;
  readonly uploadBytes: number;
  readonly idleClients: number;
  /** Whether it is enough to say that a target is met or missed. */
  readonly isJudged: boolean;
}

export interface Arguments {
  readonly parameters: Parameters;
  /** The module's file. */
  readonly module: string;
  /** The file of results. */
  readonly out: string;
}

const MB = 1e6;
/** Fewer do not judge. */
const LEAST_ROUNDS = 21;
const LEAST_IDLE_ROUNDS = 5;

const WHOLE = {
  rounds: '21',
  'idle-rounds': '5',
  seconds: '2',
  transfers: '3',
  'download-mb': '256',
  'upload-mb': '64',
  idle: '10000',
};
const QUICK: typeof WHOLE = {
  ...WHOLE,
  rounds: '2',
  'idle-rounds': '1',
  seconds: '1',
  transfers: '1',
  idle: '1000',
};

/** @throws on what is not an option, or not a whole number from 1 */
export function readArguments(args: readonly string[]): Arguments {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      module: { ...text, default: 'native/nginx/build/ngx_http_fd_pass_module.so' },
      out: { ...text, default: 'bench/results/nginx.json' },
      rounds: text,
      'idle-rounds': text,
      seconds: text,
      transfers: text,
      'download-mb': text,
      'upload-mb': text,
      idle: text,
    },
  });
  const preset = values.quick ? QUICK : WHOLE;
  const number = (name: keyof typeof WHOLE): number => {
    const value = Number(values[name] ?? preset[name]);
    if (Number.isInteger(value) && value >= 1) return value;
    throw new Error(`--${name} is a whole number from 1`);
  };
  const isWhole = (['download-mb', 'upload-mb', 'idle'] as const).every(
    (name) => number(name) === Number(WHOLE[name]),
  );
  return {
    module: values.module,
    out: values.out,
    parameters: {
      rounds: number('rounds'),
      idleRounds: number('idle-rounds'),
      seconds: number('seconds'),
      transfers: number('transfers'),
      downloadBytes: number('download-mb') * MB,
      uploadBytes: number('upload-mb') * MB,
      idleClients: number('idle'),
      isJudged: isWhole && number('rounds') >= LEAST_ROUNDS && number('idle-rounds') >= LEAST_IDLE_ROUNDS,
    },
  };
}
