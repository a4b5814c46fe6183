// When an application's files change. Knows which files count, and nothing of what happens then.
import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { watch } from 'chokidar';

/** Hidden files and installed packages. */
const IGNORED = /(^|[/\\])(node_modules|\.[^./\\][^/\\]*)([/\\]|$)/;
/** Not everything: an application that writes into its own folder would be reloaded without end. */
const SOURCE = /\.(?:[cm]?[jt]sx?|json|html|css)$/;
/** Editors and compilers write several files at once. */
const SETTLE_MS = 100;

/**
 * Watches the package folder, or the folder of the module, for as long as the process lives. Resolves when changes from then on
 * are seen.
 */
export async function watchApp(
  app: string,
  onChange: () => void,
  onError: (error: unknown) => void,
): Promise<void> {
  const path = resolve(app);
  const folder = statSync(path).isDirectory() ? path : dirname(path);
  const watcher = watch(folder, {
    ignored: (file, stats) =>
      IGNORED.test(file.slice(folder.length)) || (stats?.isFile() === true && !SOURCE.test(file)),
    ignoreInitial: true,
    ignorePermissionErrors: true,
  });
  let settling: NodeJS.Timeout | undefined;
  watcher.on('all', (event) => {
    if (event.endsWith('Dir')) return;
    clearTimeout(settling);
    settling = setTimeout(onChange, SETTLE_MS);
  });
  watcher.on('error', onError);
  await new Promise((resolve) => watcher.once('ready', () => resolve(undefined)));
}
