// Reads what callgrind wrote (valgrind manual, "Callgrind Format Specification"), and says what one object of it cost: its own
// instructions, those of the C library on its behalf, and its system calls. What it calls in Node.js is not its cost.

export interface ObjectCost {
  readonly instructions: number;
  /** Calls of the C library's functions that are one system call each. */
  readonly systemCalls: number;
}

const C_LIBRARY = /\/(?:libc|libstdc\+\+|libpthread|libm|libgcc_s|ld-linux[^/]*)[.-][^/]*$/;
const SYSTEM_CALLS = new Set(
  `accept accept4 bind close connect epoll_ctl epoll_wait fcntl fcntl64 getpeername getsockname getsockopt ioctl listen
  poll read recv recvfrom recvmsg send sendmsg sendto setsockopt shutdown write`.split(/\s+/),
);

/** @param profile callgrind's file, for one event. @param object which object, by the end of its path */
export function costOf(profile: string, object: string): ObjectCost {
  const objects = new Names();
  const functions = new Names();
  const cost = { instructions: 0, systemCalls: 0 };
  let own = '';
  let called = '';
  let calledFunction = '';
  let calls = 0;
  for (const line of profile.split('\n')) {
    const [, key, value = ''] = /^(\w+)=\s?(.*)$/.exec(line) ?? [];
    if (key === 'ob') own = objects.read(value);
    else if (key === 'fn') {
      functions.read(value);
      // A call is within the same object unless it says otherwise.
      called = '';
    } else if (key === 'cob') called = objects.read(value);
    else if (key === 'cfn') calledFunction = functions.read(value);
    else if (key === 'calls') calls = Number.parseInt(value, 10);
    else if (/^[+\-*\d]/.test(line) && own.endsWith(object)) {
      const events = Number(line.split(' ')[1]);
      if (calls === 0) cost.instructions += events;
      else if (C_LIBRARY.test(called)) {
        cost.instructions += events;
        if (isSystemCall(calledFunction)) cost.systemCalls += calls;
      }
    }
    // The line after `calls=` is the cost of that call.
    if (key !== 'calls' && /^[+\-*\d]/.test(line)) {
      calls = 0;
      called = '';
    }
  }
  return cost;
}

/** Debian's C library has `__close` and the like beside `close`. */
const isSystemCall = (name: string): boolean => SYSTEM_CALLS.has(name.replace(/^(?:__libc_|__)/, ''));

/** "(7) name" gives a name, "(7)" repeats it. */
class Names {
  readonly #names = new Map<string, string>();

  read(text: string): string {
    const [, id, name] = /^(\(\d+\))(?: (.*))?$/.exec(text) ?? [];
    if (id === undefined) return text;
    if (name !== undefined) this.#names.set(id, name);
    return this.#names.get(id) ?? '';
  }
}
