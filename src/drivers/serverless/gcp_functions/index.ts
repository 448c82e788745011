import { defineServerlessDriver } from '../../../driver.ts';
import { MAX_BYTES } from './client.ts';
import { openGcpFunctions, PEERS } from './open.ts';
import { gcpFunctionsOptions } from './options.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'gcp_functions',
  title: 'Google Cloud Run functions',
  options: gcpFunctionsOptions,
  capabilities: {
    deploy: false,
    logs: false,
    // Cloud Run keeps no result of a request: whoever wants one holds the call.
    native: false,
    // 60 minutes for HTTP functions: https://cloud.google.com/functions/docs/configuring/timeout (read 2026-11-28).
    limits: { payloadBytes: MAX_BYTES, timeoutSeconds: 3600 },
  },
  peers: PEERS,
  remote: true,
  open: openGcpFunctions,
});
