import { testVectorDriver } from '../../../testing/vector.ts';
import driver from './index.ts';

testVectorDriver({
  driver,
  open: (context) => driver.open(driver.options.parse({}), context),
  engine: { mode: 'live', name: 'SQLite of Node.js' },
});
