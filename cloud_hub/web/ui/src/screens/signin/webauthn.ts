/** Hands the hub's questions to a passkey or security key, and its answers back: JSON text on both sides. */

export const knowsPasskeys = typeof window !== "undefined" && "PublicKeyCredential" in window;

interface Described {
  id: string;
  type: "public-key";
  transports?: AuthenticatorTransport[];
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(raw, (letter) => letter.charCodeAt(0));
}

function text(buffer: ArrayBuffer): string {
  let raw = "";
  for (const each of new Uint8Array(buffer)) raw += String.fromCharCode(each);
  return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const described = (known: Described[] | undefined) => (known ?? []).map((one) => ({ ...one, id: bytes(one.id) }));

function answer(credential: PublicKeyCredential, response: Record<string, string>): string {
  return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
}

/** Make a new key; rejects where the person or the device does not. */
export async function createKey(options: string): Promise<string> {
  const asked = JSON.parse(options) as PublicKeyCredentialCreationOptionsJSON;
  const made = (await navigator.credentials.create({
    publicKey: {
      ...(asked as unknown as PublicKeyCredentialCreationOptions),
      challenge: bytes(asked.challenge),
      user: { ...asked.user, id: bytes(asked.user.id) },
      excludeCredentials: described(asked.excludeCredentials as Described[] | undefined),
    },
  })) as PublicKeyCredential | null;
  if (!made) throw new DOMException("no key", "NotAllowedError");
  const response = made.response as AuthenticatorAttestationResponse;
  return answer(made, {
    clientDataJSON: text(response.clientDataJSON),
    attestationObject: text(response.attestationObject),
  });
}

/** Have a key sign; rejects where the person or the device does not. */
export async function askKey(options: string): Promise<string> {
  const asked = JSON.parse(options) as PublicKeyCredentialRequestOptionsJSON;
  const found = (await navigator.credentials.get({
    publicKey: {
      ...(asked as unknown as PublicKeyCredentialRequestOptions),
      challenge: bytes(asked.challenge),
      allowCredentials: described(asked.allowCredentials as Described[] | undefined),
    },
  })) as PublicKeyCredential | null;
  if (!found) throw new DOMException("no key", "NotAllowedError");
  const response = found.response as AuthenticatorAssertionResponse;
  return answer(found, {
    clientDataJSON: text(response.clientDataJSON),
    authenticatorData: text(response.authenticatorData),
    signature: text(response.signature),
    ...(response.userHandle ? { userHandle: text(response.userHandle) } : {}),
  });
}
