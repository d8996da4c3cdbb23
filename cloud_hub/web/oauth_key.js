// Asks a passkey or security key on the page of /oauth/authorize, and sends its answer in place of a password.

const form = document.querySelector("form[data-key]");
const button = form.querySelector("button");
const failed = form.querySelector("[role=alert]");

function bytes(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const raw = Array.from(new Uint8Array(buffer), (each) => String.fromCharCode(each)).join("");
  return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

async function answer() {
  const asking = await fetch("/oauth/authorize/key", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  if (!asking.ok) throw new Error(String(asking.status));
  const asked = JSON.parse((await asking.json()).options);
  const publicKey = { ...asked, challenge: bytes(asked.challenge), allowCredentials: [] };
  const found = await navigator.credentials.get({ publicKey });
  const { clientDataJSON, authenticatorData, signature, userHandle } = found.response;
  const response = {
    clientDataJSON: text(clientDataJSON),
    authenticatorData: text(authenticatorData),
    signature: text(signature),
    ...(userHandle ? { userHandle: text(userHandle) } : {}),
  };
  return JSON.stringify({ id: found.id, rawId: text(found.rawId), type: found.type, response });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  failed.hidden = true;
  try {
    form.elements.credential.value = await answer();
    form.submit();
  } catch {
    failed.hidden = false;
    button.disabled = false;
  }
});

form.hidden = !("PublicKeyCredential" in window);
