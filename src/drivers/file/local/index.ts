import { defineFileDriver } from '../../../driver.ts';
import { openLocal } from './client.ts';
import { localOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'local',
  title: 'Local folder',
  options: localOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    copy: true,
    move: true,
    presign: false,
    // Node reads no extended attributes, and a type guessed from the name would not be the one that was given.
    contentType: false,
    // Segments are walked one by one, so the system's own limit of 4,096 for a path does not apply; 16 TiB is ext4's.
    limits: { pathBytes: 4096, fileBytes: 2 ** 44 },
  },
  open: openLocal,
});
