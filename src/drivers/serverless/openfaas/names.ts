import { invalidField } from '../../../driver.ts';

/** A function as the gateway's routes name it. */
export type Address = {
  /** What a call's path has: the name, and the namespace behind a dot unless it is the default one. */
  readonly path: string;
  readonly name: string;
  readonly namespace?: string;
};

// `NameExpression`, https://github.com/openfaas/faas/blob/master/gateway/main.go, of which the last dot begins the
// namespace (`getNameParts` in gateway/handlers/queue_proxy.go; both read 2026-11-28). No name of Kubernetes has a dot.
const PART = /^[-a-zA-Z_0-9]+$/;

/**
 * Where a function is called.
 *
 * @throws ConnectorError `invalid_argument` for a name that the gateway does not take, or of another namespace than the
 *   connector's own.
 */
export function addressOf(name: string, own: string | undefined): Address {
  const [fn = '', given, ...rest] = name.split('.');
  const isName = PART.test(fn) && (given === undefined || PART.test(given)) && rest.length === 0;
  if (!isName)
    throw invalidField('name', 'is letters, digits, _ and -, with a namespace behind a dot or none');
  if (own !== undefined && given !== undefined && given !== own)
    throw invalidField('name', 'is of another namespace than the connector’s');
  const namespace = given ?? own;
  return namespace === undefined
    ? { path: fn, name: fn }
    : { path: `${fn}.${namespace}`, name: fn, namespace };
}
