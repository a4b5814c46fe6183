import test from 'ava';
import { readArguments } from '../../../bench/nginx/parameters.js';

test('only a run of all rounds on whole sizes judges', (t) => {
  for (const [args, isJudged] of [
    [[], true],
    [['--rounds', '31', '--seconds', '1'], true],
    [['--rounds', '20'], false],
    [['--idle-rounds', '1'], false],
    [['--idle', '9999'], false],
    [['--download-mb', '1'], false],
    [['--quick'], false],
  ] as const) {
    t.is(readArguments(args).parameters.isJudged, isJudged, args.join(' '));
  }
});

test('what is given goes before what --quick presets', (t) => {
  const { parameters } = readArguments(['--quick', '--rounds', '7', '--upload-mb', '3']);
  t.is(parameters.rounds, 7);
  t.is(parameters.uploadBytes, 3_000_000);
  t.is(parameters.idleClients, 1000);
});

for (const args of [['--rounds', '0'], ['--seconds', '0.5'], ['--idle', 'many'], ['--fast']]) {
  test(`${args.join(' ')} is refused`, (t) => {
    t.throws(() => readArguments(args));
  });
}
