import { testServerlessDriver } from '../../../testing/serverless.ts';
import driver from './index.ts';
import { openLocal, scratchFolder } from './local.fixture.ts';

const scratch = scratchFolder();
testServerlessDriver({ driver, open: () => openLocal(scratch()) });
