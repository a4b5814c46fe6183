// What a test needs from the machine besides Node.js, and what becomes of the test without it: on a laptop a skip whose title
// says what is missing, with CI=true a failure that says so. It installs nothing.
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { ImplementationFn, TestFn } from 'ava';

/** Something a test needs. `lack` is undefined when the machine has it, else says what is missing and what to do. */
export interface Requirement {
  readonly lack: string | undefined;
}

/** A requirement of any kind: `lack` completes "needs ...", and matters only when `isMet` is false. */
export function condition(isMet: boolean, lack: string): Requirement {
  return { lack: isMet ? undefined : lack };
}

function isOnPath(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A program on PATH. @param debianPackage what brings it. @default the program's own name */
export function program(name: string, debianPackage: string = name): Requirement {
  return condition(isOnPath(name), `${name}: apt-get install ${debianPackage}`);
}

/** Bits of a capability set, from linux/capability.h. */
const CAPABILITY = { netBindService: 10, netAdmin: 12, netRaw: 13, sysAdmin: 21, sysResource: 24 } as const;

/** An effective capability of this process, see capabilities(7). */
export function privilege(name: keyof typeof CAPABILITY): Requirement {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  const isHeld = ((BigInt(`0x${effective}`) >> BigInt(CAPABILITY[name])) & 1n) === 1n;
  const constant = `CAP_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`;
  return condition(isHeld, `${constant}: run the tests as root`);
}

/** Declares a test, like `test` itself does with a title and an implementation. */
export type Declare<Context> = (title: string, implementation: ImplementationFn<[], Context>) => void;

/**
 * Gives a `test` for tests with requirements: `const withWrk = needs(test, program('wrk'))`, then
 * `withWrk('title', async (t) => { ... })`. Pass `test.serial` for serial ones.
 */
export function needs<Context>(
  test: Pick<TestFn<Context>, 'skip'> & Declare<Context>,
  ...requirements: readonly Requirement[]
): Declare<Context> {
  const lacks = requirements.flatMap(({ lack }) => lack ?? []);
  if (lacks.length === 0) return test;
  const reason = `needs ${lacks.join('; ')}`;
  if (process.env.CI === 'true') return (title) => test(title, (t) => t.fail(reason));
  return (title, implementation) => test.skip(`${title} (${reason})`, implementation);
}
