import { createRequire } from 'node:module';
import { join } from 'node:path';
import test from 'ava';
import { repositoryRoot } from './stand-in-workspace.js';

type Result = object;
type Stage = { readonly title: string };
type Body = (write: (text: string) => void) => Promise<Result>;
const load = createRequire(join(repositoryRoot, 'scripts', 'tally.cjs'));
const { Tally, stageFailed, stageMissing, stagePassed } = load('./tally.cjs') as {
  Tally: new (options: { ci: boolean; write(text: string): void }) => { finish(): number };
  stageFailed(reason: string): Result;
  stageMissing(reason: string): Result;
  stagePassed(): Result;
};
const { SideBySide } = load('./side-by-side.cjs') as {
  SideBySide: new () => {
    add(title: string, order: { needed?: Stage[]; after?: Stage[] }, body: Body): Stage;
    tell(tally: object): Promise<void>;
  };
};

function collect() {
  let text = '';
  const tally = new Tally({ ci: false, write: (piece) => (text += piece) });
  return {
    tally,
    lines: () =>
      text
        .replaceAll(/ \([\d.]+ s\)/g, '')
        .split('\n')
        .filter(Boolean),
  };
}

test('a stage that is done first is told in its turn, with all that it printed', async (t) => {
  const { tally, lines } = collect();
  const stages = new SideBySide();
  let finishFirst = (): void => {};
  const secondIsDone = new Promise<void>((resolve) => {
    finishFirst = resolve;
  });
  stages.add('first', {}, async (write) => {
    write('of the first\n');
    await secondIsDone;
    return stagePassed();
  });
  stages.add('second', {}, async (write) => {
    write('of the second\n');
    finishFirst();
    return stagePassed();
  });
  await stages.tell(tally);
  t.deepEqual(lines(), [
    '== first',
    'of the first',
    '-- first: 1 passed, 0 failed, 0 skipped',
    '== second',
    'of the second',
    '-- second: 1 passed, 0 failed, 0 skipped',
  ]);
});

for (const [what, result] of Object.entries({
  failed: stageFailed('no'),
  'cannot be had': stageMissing('no'),
})) {
  test(`what needs a stage that ${what} is neither run nor told, nor what needs that; the others are`, async (t) => {
    const { tally, lines } = collect();
    const stages = new SideBySide();
    const run: string[] = [];
    const add = (title: string, needed: Stage[], outcome: Result): Stage =>
      stages.add(title, { needed }, async () => {
        run.push(title);
        return outcome;
      });
    const lame = add('lame', [], result);
    const needing = add('needing', [lame], stagePassed());
    add('needing that', [needing], stagePassed());
    const sound = add('sound', [], stagePassed());
    add('needing both', [sound, lame], stagePassed());
    add('needing the sound one', [sound], stagePassed());
    await stages.tell(tally);
    t.deepEqual(run.sort(), ['lame', 'needing the sound one', 'sound']);
    t.deepEqual(
      lines().filter((line) => line.startsWith('== ')),
      ['== lame', '== sound', '== needing the sound one'],
    );
  });
}

test('what comes after a stage that failed is run, when that is done', async (t) => {
  const { tally, lines } = collect();
  const stages = new SideBySide();
  const run: string[] = [];
  const lame = stages.add('lame', {}, async () => {
    await new Promise((resolve) => setImmediate(resolve));
    run.push('lame');
    return stageFailed('no');
  });
  stages.add('next', { after: [lame] }, async () => {
    run.push('next');
    return stagePassed();
  });
  await stages.tell(tally);
  t.deepEqual(run, ['lame', 'next']);
  t.is(lines().at(-1), '-- next: 1 passed, 0 failed, 0 skipped');
});

test('a stage that throws has failed, and the others are told', async (t) => {
  const { tally, lines } = collect();
  const stages = new SideBySide();
  stages.add('broken', {}, () => Promise.reject(new Error('out of order')));
  stages.add('sound', {}, async () => stagePassed());
  await stages.tell(tally);
  t.is(tally.finish(), 1);
  t.true(lines().includes('-- sound: 1 passed, 0 failed, 0 skipped'));
  t.true(lines().some((line) => line.includes('out of order')));
});
