/**
 * Everything that is killed with SIGKILL, one program after another.
 *
 *     npm run test:crash [-- --cycles 100]
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const programs = ['store.ts', 'registry.ts', 'invocations.ts', 'key-rotation.ts'];
const failed = programs.filter((program) => {
  const { status } = spawnSync(
    process.execPath,
    [join(import.meta.dirname, program), ...process.argv.slice(2)],
    {
      stdio: 'inherit',
    },
  );
  return status !== 0;
});
if (failed.length > 0) {
  console.error(`lost or torn: ${failed.join(', ')}`);
  process.exit(1);
}
