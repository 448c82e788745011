import { afterAll, beforeAll } from 'vitest';
import { testFileDriver } from '../../../testing/file.ts';
import { openContext } from '../../../testing/open-context.ts';
import { type Double, startDouble } from './double.fixture.ts';
import driver from './index.ts';
import { hasSshd, type Sshd, sshdVersion, startSshd } from './sshd.fixture.ts';

let double: Double;
let server: Sshd | undefined;
beforeAll(async () => {
  double = await startDouble();
  if (hasSshd) server = await startSshd();
});
afterAll(() => Promise.all([double.close(), server?.close()]));

const openOn = (options: object) =>
  driver.open(driver.options.parse(options), openContext({ folder: '/nonexistent' }));

// Where there is no sshd, the double alone says that the driver works; what seen.json says stays as it was seen.
if (hasSshd) {
  testFileDriver({
    driver,
    open: () => openOn(server?.options ?? {}),
    // What another version does is not what was seen.
    ...(sshdVersion() === 'OpenSSH 9.2' && {
      engine: { mode: 'live', name: 'OpenSSH 9.2, internal-sftp' } as const,
    }),
  });
}

testFileDriver({
  driver: { ...driver, id: 'sftp, without any extension of the protocol' },
  open: () => openOn(double.options),
  waivers: {
    'lets exactly one of twenty writers create a file': "ssh2's server offers no hardlink@openssh.com",
  },
});
