import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hostKeys } from './host-key.ts';
import { serverOf, sftpOptions } from './options.ts';

const blobOf = (type: string, rest = 'key') => {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(rest)]);
};
const ed25519 = blobOf('ssh-ed25519');
const rsa = blobOf('ssh-rsa');
const lineOf = (type: string, blob: Buffer) => `${type} ${blob.toString('base64')}`;
const printOf = (blob: Buffer) =>
  `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;

describe('the required host keys', () => {
  it.each([
    ['a key', lineOf('ssh-ed25519', ed25519)],
    ['a key with a comment', `${lineOf('ssh-ed25519', ed25519)} root@host`],
    ['what ssh-keyscan prints', `# host:22 SSH-2.0\n[host]:22 ${lineOf('ssh-ed25519', ed25519)}\n\n`],
    ['a fingerprint', printOf(ed25519)],
    ['several lines', `${lineOf('ssh-rsa', rsa)}\r\n${printOf(ed25519)}`],
  ])('take %s', (_what, text) => {
    expect(hostKeys(text)?.accepts(ed25519)).toBe(true);
    expect(hostKeys(text)?.accepts(blobOf('ssh-ed25519', 'another'))).toBe(false);
  });

  it('ask for a key of a type that is known, unless a fingerprint leaves it open', () => {
    const both = `${lineOf('ssh-rsa', rsa)}\n${lineOf('ssh-ed25519', ed25519)}`;
    expect(hostKeys(both)?.algorithms).toEqual(['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa', 'ssh-ed25519']);
    expect(hostKeys(`${both}\n${printOf(rsa)}`)?.algorithms).toBeUndefined();
  });

  it.each([
    '',
    '# nothing',
    'ssh-ed25519',
    'ssh-ed25519 ???',
    lineOf('ssh-ed25519', rsa),
    lineOf('ssh-dss', blobOf('ssh-dss')),
    `@cert-authority * ${lineOf('ssh-ed25519', ed25519)}`,
    `@revoked ${lineOf('ssh-ed25519', ed25519)}`,
    'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48',
    'SHA256:short',
    `${lineOf('ssh-ed25519', ed25519)}\nnonsense`,
    `a b ${lineOf('ssh-ed25519', ed25519)}`,
    'constructor constructor',
  ])('refuse %j as a whole', (text) => {
    expect(hostKeys(text)).toBeUndefined();
  });
});

describe('the options', () => {
  const whole = { endpoint: 'sftp://ada@host', password: 'x', host_key: lineOf('ssh-ed25519', ed25519) };
  const issuesOf = (options: Readonly<Record<string, unknown>>) =>
    sftpOptions.safeParse({ ...whole, ...options }).error?.issues ?? [];

  it.each([
    [{}],
    [{ endpoint: 'sftp://ada%40example.org@[::1]:2222/' }],
    [{ password: undefined, private_key: 'k', passphrase: 'p' }],
    [{ host_key: undefined, insecure_any_host_key: true }],
    [{ root: '/srv/files' }],
  ])('take %j', (options) => {
    expect(issuesOf(options)).toEqual([]);
  });

  it.each([
    [{ endpoint: 'ftp://ada@host' }, 'endpoint'],
    [{ endpoint: 'sftp://host' }, 'endpoint'],
    [{ endpoint: 'sftp://ada:secret@host' }, 'endpoint'],
    [{ endpoint: 'sftp://ada@host/folder' }, 'endpoint'],
    [{ endpoint: 'sftp://ada@host?x' }, 'endpoint'],
    [{ endpoint: 'sftp://%ff@host' }, 'endpoint'],
    [{ endpoint: 'sftp://ada@' }, 'endpoint'],
    [{ password: undefined }, 'password'],
    [{ passphrase: 'p' }, 'passphrase'],
    [{ host_key: 'nonsense' }, 'host_key'],
    [{ insecure_any_host_key: true }, 'insecure_any_host_key'],
    [{ keepalive_seconds: -1 }, 'keepalive_seconds'],
    [{ root: '' }, 'root'],
    [{ agent: '/run/agent' }, ''],
  ])('refuse %j', (options, path) => {
    expect(issuesOf(options).map((issue) => issue.path.join('.'))).toContain(path);
  });

  it('say how the key of the server is found where there is none', () => {
    expect(issuesOf({ host_key: undefined })).toMatchObject([
      { path: ['host_key'], message: expect.stringContaining('ssh-keyscan') },
    ]);
  });

  it('name the server and the user', () => {
    expect(serverOf({ endpoint: 'sftp://ada%40example.org@[::1]:2222' })).toEqual({
      host: '::1',
      port: 2222,
      user: 'ada@example.org',
    });
    expect(serverOf({ endpoint: 'sftp://ada@files.example' })).toEqual({
      host: 'files.example',
      port: 22,
      user: 'ada',
    });
  });
});
