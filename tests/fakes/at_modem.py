"""A modem that speaks AT commands (3GPP TS 27.007) on an abstract Unix socket, where ModemManager looks for its
virtual ports: what a test changes in it is seen through the real ModemManager."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

LTE, NR_SA = 7, 11
"""Access technologies as 27.007 numbers them (7.3): E-UTRAN, NG-RAN.  13, dual connectivity, is one that ModemManager
1.20 does not read from AT commands."""
HOME, SEARCHING, DENIED, ROAMING = 1, 2, 3, 5
ICCID = "980681001122334455F6"

FIXED = {
    "AT+GCAP": "+GCAP: +CGSM,+DS,+ES",
    "ATI": "Yuanzhen",
    "AT+WS46=?": "+WS46: (12,22,25,28,29,30,31,36,37,38,39,40)",
    "AT+CGMI": "Yuanzhen",
    "AT+CGMM": "AT modem of the tests",
    "AT+CGMR": "1",
    "AT+CGSN": "867698040000025",
    "AT+CGDCONT=?": '+CGDCONT: (1-11),"IP",,,(0-2),(0-3)',
    "AT+CIMI": "460001234567890",
    "AT+CLCK=?": '+CLCK: ("SC")',
    'AT+CLCK="SC",2': "+CLCK: 0",
    "AT+CFUN?": "+CFUN: 1",
    "AT+CSCS=?": '+CSCS: ("IRA","GSM","UCS2")',
    "AT+CSCS?": '+CSCS: "IRA"',
    "AT+CPIN?": "+CPIN: READY",
    "AT+CREG?": "+CREG: 2,0",
    "AT+CGREG?": "+CGREG: 2,0",
    "AT+CRSM=176,12258,0,0,10": f'+CRSM: 144,0,"{ICCID}"',
    "AT+CESQ=?": "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",
}
ACCEPTED = frozenset(
    ["AT", "ATE0", "ATV1", "AT+CMEE=1", "ATX4", "AT&C1", "AT+CFUN=1", "AT+CFUN=0", 'AT+CSCS="IRA"', 'AT+CSCS="UCS2"',
     "AT+COPS=3,2", "AT+COPS=3,0", *(f"AT+C{kind}REG={n}" for kind in ("", "G", "E", "5G") for n in (0, 2))]
)  # fmt: skip


@dataclass(slots=True)
class AtModem:
    """What the modem would answer now; `told` makes it speak of a change unasked."""

    port: str
    registration: int = HOME
    technology: int = LTE
    cell: str = "00A81B02"
    rsrp_dbm: int = -93
    rsrq_db: int = -9
    quality: int = 20
    """Of 31 (AT+CSQ)."""
    asked: list[str] = field(default_factory=list)
    _lines: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def is_serving(self) -> bool:
        return self.registration in (HOME, ROAMING)

    def tell(self) -> None:
        """Say the registrations unasked, as a modem does after a hand-over or a loss."""
        for line in self._lines:
            for command in ("CEREG", "C5GREG"):
                line.write(f"\r\n+{command}: {self._where(command)}\r\n".encode())

    def _where(self, command: str) -> str:
        """Return the registration with the network that this command is about (27.007 10.1.22, 10.1.47)."""
        is_this = (self.technology == NR_SA) == (command == "C5GREG")
        if not (is_this and self.is_serving):
            return str(self.registration if is_this else 0)
        slices = ',1,"01"' if command == "C5GREG" else ""
        return f'{self.registration},"31C5","{self.cell}",{self.technology}{slices}'

    def answer(self, command: str) -> str | None:
        """Return what is answered; None: it is no command of this modem."""
        if command in ACCEPTED:
            return ""
        match command:
            case "AT+CEREG?" | "AT+C5GREG?":
                return f"{command[2:-1]}: 2,{self._where(command[3:-1])}"
            case "AT+COPS?":
                numeric = "AT+COPS=3,2" in self.asked[-2:]
                name = "46000" if numeric else "CHINA MOBILE"
                return f'+COPS: 0,{2 if numeric else 0},"{name}",{self.technology}' if self.is_serving else "+COPS: 0"
            case "AT+CSQ":
                return f"+CSQ: {self.quality if self.is_serving else 99},99"
            case "AT+CESQ":
                # 27.007 8.69: RSRQ in half decibels from -19.5, RSRP in decibels from -140.
                levels = f"{round((self.rsrq_db + 20) * 2)},{self.rsrp_dbm + 141}" if self.is_serving else "255,255"
                return f"+CESQ: 99,99,255,255,{levels}"
        return FIXED.get(command)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one line until it is closed."""
        self._lines.add(writer)
        try:
            while command := (await reader.readuntil(b"\r")).decode().strip():
                self.asked.append(command)
                answer = self.answer(command)
                text = "ERROR" if answer is None else "OK"
                writer.write((f"\r\n{answer}\r\n" if answer else "").encode() + f"\r\n{text}\r\n".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._lines.discard(writer)
            writer.close()


@contextlib.asynccontextmanager
async def at_modem(name: str) -> AsyncIterator[AtModem]:
    """Run an AT modem while the block runs; its port is `abstract:<name>`."""
    modem = AtModem(f"abstract:{name}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{modem.port}")
    server = await asyncio.start_unix_server(modem.serve, sock=listener)
    async with server:
        yield modem
