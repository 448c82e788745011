/** The public face of `connector-registry/server`. */
export { operations } from '../operations/index.ts';
export { runOperation, type Caller, type Operation, type OperationContext } from '../operations/operation.ts';
export { httpApp, type HttpOptions } from './http.ts';
export { registryLog, serverLogger } from './logging.ts';
export { openApiDocument } from './openapi.ts';
export { type Problem, problemOf } from './problem.ts';
export { type RunningServer, type ServerOptions, startServer } from './serve.ts';
