import { z } from 'zod';
import type { FileDriver } from '../connectors/file/driver.ts';
import type { ServerlessDriver } from '../connectors/serverless/driver.ts';
import type { VectorDriver } from '../connectors/vector/driver.ts';
import { adminPaths, secretPaths } from '../contract/options.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';

export type AnyDriver = VectorDriver | FileDriver | ServerlessDriver;
export type DriverKind = AnyDriver['kind'];

/** Where each driver comes from: `vector/embedded` → its module, imported at first use. */
export type DriverLoaders = Readonly<Record<string, () => Promise<{ readonly default: AnyDriver }>>>;

/** A driver and what its options schema says, read once. */
export type LoadedDriver = {
  readonly driver: AnyDriver;
  readonly secretPaths: readonly string[];
  readonly adminPaths: readonly string[];
};

/** A driver as the catalogue of providers shows it, in wire names. */
export type ProviderDescription = {
  readonly connector_type: DriverKind;
  readonly provider: string;
  readonly title: string;
  readonly capabilities: AnyDriver['capabilities'];
  readonly secrets: readonly string[];
  readonly admin_only: readonly string[];
  readonly peers: Readonly<Record<string, string>>;
  /** JSON Schema 2020-12 of the options; credentials are among them, marked `writeOnly`. */
  readonly options: Readonly<Record<string, unknown>>;
};

/** The drivers that a registry was given, loaded at first use. */
export class DriverCatalog {
  readonly #loaders: DriverLoaders;
  readonly #embedded: boolean;
  readonly #loaded = new Map<string, Promise<LoadedDriver>>();

  /** @param embedded whether drivers are offered that keep their data in this process or its data directory. */
  constructor(loaders: DriverLoaders, { embedded }: { readonly embedded: boolean }) {
    this.#loaders = loaders;
    this.#embedded = embedded;
  }

  /** @throws ConnectorError `invalid_argument` naming the providers that exist for the kind. */
  load(kind: DriverKind, provider: string): Promise<LoadedDriver> {
    const name = `${kind}/${provider}`;
    let loaded = this.#loaded.get(name);
    if (!loaded) {
      const loader = Object.hasOwn(this.#loaders, name) ? this.#loaders[name] : undefined;
      if (!loader) return Promise.reject(this.#unknown(kind));
      loaded = loader().then(({ default: driver }) => ({
        driver,
        secretPaths: secretPaths(driver.options),
        adminPaths: adminPaths(driver.options),
      }));
      // A failed import may succeed later, when the missing package has been installed.
      loaded.catch(() => this.#loaded.delete(name));
      this.#loaded.set(name, loaded);
    }
    return loaded;
  }

  /** @throws ConnectorError `invalid_state` for a driver that is not offered, naming those of its kind that are. */
  async checkOffered(driver: AnyDriver): Promise<void> {
    if (this.#isOffered(driver)) return;
    const others = (await this.#offered()).filter((one) => one.driver.kind === driver.kind);
    throw new ConnectorError(
      'invalid_state',
      `${driver.kind}/${driver.id} keeps its data on one server, and CONNECTORS_EMBEDDED=false (embedded: false) lets no ` +
        `connector be made or used that does; use ${others.map((one) => one.driver.id).join(', ')} instead`,
      { details: { setting: 'CONNECTORS_EMBEDDED' } },
    );
  }

  /** Every driver that is offered, sorted by kind and id. */
  async describe(): Promise<readonly ProviderDescription[]> {
    return (await this.#offered()).map(({ driver, ...marked }) => ({
      connector_type: driver.kind,
      provider: driver.id,
      title: driver.title,
      capabilities: driver.capabilities,
      secrets: marked.secretPaths,
      admin_only: marked.adminPaths,
      peers: driver.peers ?? {},
      options: z.toJSONSchema(driver.options, { io: 'input', unrepresentable: 'any' }),
    }));
  }

  async #offered(): Promise<readonly LoadedDriver[]> {
    const names = Object.keys(this.#loaders).sort();
    const all = await Promise.all(
      names.map((name) => {
        const [kind, provider] = name.split('/') as [DriverKind, string];
        return this.load(kind, provider);
      }),
    );
    return all.filter(({ driver }) => this.#isOffered(driver));
  }

  #isOffered(driver: AnyDriver): boolean {
    return this.#embedded || driver.remote === true;
  }

  #unknown(kind: string) {
    const known = Object.keys(this.#loaders)
      .filter((name) => name.startsWith(`${kind}/`))
      .map((name) => name.slice(kind.length + 1));
    return invalidField('provider', `is one of ${known.sort().join(', ')} for a ${kind} connector`);
  }
}
