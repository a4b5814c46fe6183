import test from 'ava';
import { runAva } from './run-ava.js';
import { repositoryRoot } from './stand-in-workspace.js';

const suite = `
import test from 'ava';
import { condition, needs, privilege, program } from '${repositoryRoot}build/test/helpers/requirements.js';
needs(test, program('node'))('has node', (t) => t.pass());
needs(test, program('no-such-program', 'some-package'))('lacks a program', (t) => t.pass());
needs(test.serial, condition(true, 'unused'), condition(false, 'a thing: find it'), program('no-such-program'))('lacks two', (t) => t.pass());
`;

/** The lines about tests in the TAP of the suite above. */
function runSuite(ci: string | undefined): string[] {
  const { stdout } = runAva(suite, ['--tap'], ci === undefined ? {} : { CI: ci });
  return stdout.split('\n').filter((line) => /^(not )?ok /.test(line) || /Message|values|needs/.test(line));
}

const withoutNumbers = (lines: string[]) => lines.map((line) => line.replace(/ok \d+ - /, 'ok ')).sort();

test('on a laptop a lack is a skip with its reason in the title', (t) => {
  t.deepEqual(withoutNumbers(runSuite(undefined)), [
    'ok has node',
    'ok lacks a program (needs no-such-program: apt-get install some-package) # SKIP',
    'ok lacks two (needs a thing: find it; no-such-program: apt-get install no-such-program) # SKIP',
  ]);
});

test('with CI=true a lack is a failure that says what to install', (t) => {
  const lines = runSuite('true').join('\n');
  t.regex(lines, /^ok \d+ - has node$/m);
  t.regex(lines, /^not ok \d+ - lacks a program$/m);
  t.regex(lines, /needs no-such-program: apt-get install some-package/);
  t.regex(lines, /^not ok \d+ - lacks two$/m);
});
