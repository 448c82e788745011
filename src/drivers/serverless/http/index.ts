import { defineServerlessDriver } from '../../../driver.ts';
import { MAX_BYTES, openHttp } from './client.ts';
import { httpOptions } from './options.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'http',
  title: 'Functions behind HTTP',
  remote: true,
  options: httpOptions,
  capabilities: {
    deploy: false,
    logs: false,
    native: false,
    // Ours: HTTP itself has no limits, and a server says 413 where its own is lower.
    limits: { payloadBytes: MAX_BYTES, timeoutSeconds: 900 },
  },
  open: openHttp,
});
