import { testServerlessDriver } from '../../../testing/serverless.ts';
import driver from './index.ts';
import { openLocal, scratchFolder } from './local.fixture.ts';

const scratch = scratchFolder();
testServerlessDriver({
  driver,
  engine: { mode: 'live', name: 'Deno 2.9 on Linux' },
  open: () => openLocal(scratch()),
});
