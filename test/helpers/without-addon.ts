// For `node --import`: a process in which no addon can be loaded, as where there is no binary for the machine.
import Module from 'node:module';

const refuse = (): never => {
  throw new Error('addons cannot be loaded in this process');
};

(Module as unknown as { _extensions: Record<string, unknown> })._extensions['.node'] = refuse;
process.dlopen = refuse;
