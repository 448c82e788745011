import { defineServerlessDriver } from '../../../driver.ts';
import { outcomeOfCallback } from './callback.ts';
import { openOpenfaas } from './open.ts';
import { openfaasOptions } from './options.ts';
import { MAX_BYTES } from './client.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'openfaas',
  title: 'OpenFaaS',
  remote: true,
  options: openfaasOptions,
  capabilities: {
    deploy: false,
    logs: true,
    native: 'callback',
    // OpenFaaS names none for a call: its time is what the operator gave the gateway and the function's watchdog,
    // https://docs.openfaas.com/tutorials/expanded-timeouts/ (read 2026-11-28). These are ours.
    limits: { payloadBytes: MAX_BYTES, timeoutSeconds: 900 },
  },
  open: openOpenfaas,
  outcomeOf: outcomeOfCallback,
});
