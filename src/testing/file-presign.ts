import { expect, it } from 'vitest';
import type { PresignedUrl } from '../connectors/file/driver.ts';
import { bytes, text, untouchable, type FileSuite } from './file-suite.ts';
import { refuses } from './file-writes.ts';

/** Cases about addresses that the backend signs itself; they are used as their holder would, without any client. */
export function testPresign({ capabilities, files, folder }: FileSuite): void {
  const { presignedBy, presignConditions } = capabilities;
  if (presignedBy === 'server') {
    refuses(capabilities, 'presign', (idle) => idle.presign('a'));
    return;
  }
  const use = ({ url, method, headers }: PresignedUrl, body?: string, more: Record<string, string> = {}) =>
    fetch(url, {
      method,
      headers: { ...headers, ...more },
      ...(body !== undefined && { body: bytes(body) }),
    });

  it('signs an address that reads one file', async () => {
    const at = folder();
    for (const name of ['signed', 'ö %20+&?#', ' blank ']) {
      await files().writeFile(`${at}/${name}`, `content of ${name}`);
      const signed = await files().presign(`${at}/${name}`, { method: 'GET', expiresInSeconds: 60 });
      const response = await use(signed);
      expect({ status: response.status, body: await response.text() }).toEqual({
        status: 200,
        body: `content of ${name}`,
      });
      const leftMs = signed.expiresAt.getTime() - Date.now();
      expect(leftMs).toBeGreaterThan(50_000);
      expect(leftMs).toBeLessThanOrEqual(60_000);
    }
  });

  it('signs an address that writes one file, and neither reads nor writes another', async () => {
    const at = folder();
    await files().writeFile(`${at}/other`, 'other');
    const signed = await files().presign(`${at}/signed`, { method: 'PUT', expiresInSeconds: 60 });
    expect((await use(signed, 'put')).ok).toBe(true);
    expect(text(await files().readFile(`${at}/signed`))).toBe('put');
    const elsewhere = { ...signed, url: signed.url.replace('/signed', '/other') };
    expect((await use(elsewhere, 'changed')).ok).toBe(false);
    expect((await use({ ...signed, method: 'GET', url: elsewhere.url })).ok).toBe(false);
    expect(text(await files().readFile(`${at}/other`))).toBe('other');
  });

  if (presignConditions.includes('contentType')) {
    it('ties what is put to a content type', async () => {
      const path = `${folder()}/typed`;
      const signed = await files().presign(path, { method: 'PUT', contentType: 'image/png' });
      expect((await use(signed, 'x', { 'content-type': 'text/html' })).ok).toBe(false);
      expect((await use(signed, 'x', { 'content-type': 'image/png' })).ok).toBe(true);
      expect((await files().statFile(path)).contentType).toBe('image/png');
    });
  } else
    refuses(capabilities, 'presign', (idle) =>
      idle.presign('a', { method: 'PUT', contentType: 'text/plain' }),
    );

  if (presignConditions.includes('maxBytes')) {
    it('ties what is put to a number of bytes', async () => {
      const path = `${folder()}/small`;
      const signed = await files().presign(path, { method: 'PUT', maxBytes: 4 });
      expect((await use(signed, '12345')).ok).toBe(false);
      expect((await use(signed, '1234')).ok).toBe(true);
      expect(text(await files().readFile(path))).toBe('1234');
    });
  } else
    it('refuses maxBytes before any I/O', async () => {
      const signing = untouchable(capabilities).presign('a', { method: 'PUT', maxBytes: 4 });
      await expect(signing).rejects.toMatchObject({
        code: 'unsupported',
        details: { capability: 'presign' },
      });
    });
}
