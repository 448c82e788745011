import { defineFileDriver } from '../../src/driver.ts';
import { sqliteFiles } from './client.ts';
import { sqliteOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'sqlite',
  title: 'Files in one SQLite database',
  options: sqliteOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    copy: false,
    move: false,
    presign: false,
    contentType: true,
    // https://sqlite.org/limits.html, read 2026-11-23: a row holds at most 1,000,000,000 bytes as SQLite is built for Node.
    limits: { pathBytes: 1024, fileBytes: 512 * 2 ** 20 },
  },
  open: sqliteFiles,
});
