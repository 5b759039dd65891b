"""Units of measure and currencies in ten languages, each as a dimension and a size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Measure:
    """A unit: `value * factor + offset` is the value in the base unit of `dimension`."""

    dimension: str
    factor: float
    name: str
    offset: float = 0.0


# dimension: base unit; each line is "factor name other names". Names are case-folded except _CASED.
_TABLE = """
time
1 second seconds sec secs s sekunde sekunden sek seconde secondes segundo segundos secondo secondi seconden секунда секунды секунд секунду सेकंड सेकेंड ثانية ثوان ثواني 秒 秒钟 秒間 초
0.001 millisecond milliseconds ms msec millisekunden millisekunde millisecondes milisegundos millisecondi мс миллисекунд 毫秒 ミリ秒
0.000001 microsecond microseconds µs μs us
60 minute minutes min mins minuten minuto minutos minuti minuut минута минуты минут минуту мин मिनट دقيقة دقائق 分钟 分鐘 分間 分 분
3600 hour hours hr hrs h std stunde stunden heure heures hora horas ora ore uur uren час часа часов часам घंटा घंटे घंटों ساعة ساعات 小时 小時 時間 시간
86400 day days d tag tage tagen tages jour jours jornada día días dia dias giorno giorni dag dagen день дня дней сутки суток दिन दिनों يوم أيام يوما يومًا 天 日間 일
604800 week weeks wk wks woche wochen semaine semaines semana semanas settimana settimane weken неделя недели недель неделю सप्ताह हफ्ते हफ़्ते أسبوع أسابيع 周 週間 周间 星期 个星期 주
1209600 fortnight fortnights
month
1 month months mo mos monat monate monaten mois mes meses mese mesi mês maand maanden месяц месяца месяцев माह महीना महीने महीनों شهر أشهر شهور شهرا شهرًا 个月 個月 か月 ヶ月 カ月 ヵ月 개월
3 quarter quarters quartal quartale trimestre trimestres квартал
12 year years yr yrs jahr jahre jahren jahres an ans année années año años anno anni ano anos jaar год года лет साल वर्ष वर्षों سنة سنوات عام أعوام عاما عامًا 年间 年間 년
120 decade decades jahrzehnt jahrzehnte décennie décennies
1200 century centuries jahrhundert jahrhunderte siècle siècles siglo siglos
length
1 metre metres meter meters m mtr mètre mètres metern metro metros metri метр метра метров मीटर متر أمتار مترا 米 メートル 미터
0.001 millimetre millimetres millimeter millimeters mm millimètres milímetros millimetri мм मिमी ملم مم 毫米 ミリ ミリメートル
0.000001 micrometre micrometres micron microns µm μm
0.01 centimetre centimetres centimeter centimeters cm zentimeter centimètre centimètres centímetros centimetri см сантиметр сантиметров सेमी سم 厘米 公分 センチ センチメートル
0.1 decimetre dm
1000 kilometre kilometres kilometer kilometers km kms kilomètre kilomètres kilómetro kilómetros quilómetros quilômetros chilometri километр километра километров км किमी किलोमीटर كم كيلومتر 公里 千米 キロ キロメートル
1609.344 mile miles mi meilen meile milles millas miglia
1852 nautical-mile nautical-miles nmi
0.9144 yard yards yd yds
0.3048 foot feet ft fuß pieds pies piedi
0.0254 inch inches in″ zoll pouces pulgadas
area
1 m² m2 sqm square-metre square-metres square-meter square-meters quadratmeter кв.м 平方米 平方メートル
0.0001 cm² cm2
1000000 km² km2 square-kilometre square-kilometres square-kilometer square-kilometers quadratkilometer 平方公里
10000 hectare hectares ha hektar hectáreas ettari hectárea
4046.856 acre acres
0.09290304 ft² ft2 square-foot square-feet sqft
2589988 square-mile square-miles
volume
1 litre litres liter liters l lt ltr litro litros litri литр литра литров л लीटर لتر لترات 升 リットル
0.001 millilitre millilitres milliliter milliliters ml millilitri mililitros millilitres мл मिली مل 毫升 ミリリットル cc cm³ cm3
0.01 centilitre centilitres cl
0.1 decilitre dl
100 hectolitre hl
1000 m³ m3 cubic-metre cubic-metres cubic-meter cubic-meters kubikmeter 立方米
4.54609 gallon gallons gal
0.0147868 tablespoon tablespoons tbsp el esslöffel cucharada cucharadas cucchiai cucchiaio 大さじ
0.00492892 teaspoon teaspoons tsp tl teelöffel cucharadita cucharaditas cucchiaini cucchiaino 小さじ
0.2365882 cup cups
0.568261 pint pints
mass
1 kilogram kilograms kg kgs kilo kilos kilogramm kilogramme kilogrammes kilogramo kilogramos chilo chili chilogrammi quilo quilos килограмм килограмма килограммов кг किलो किग्रा किलोग्राम كغ كجم كيلوغرام 公斤 千克 キログラム
0.001 gram grams gramme grammes g gr gramm gramos grammi gramas грамм грамма граммов г ग्राम غرام جرام 克 グラム
0.000001 milligram milligrams milligramme milligrammes mg milligramm miligramos milligrammi мг मिग्रा ملغ 毫克 ミリグラム
0.000000001 microgram micrograms µg μg mcg ug mikrogramm
1000 tonne tonnes t ton tons tonnen toneladas tonelada tonnellate тонна тонны тонн टन طن 吨 トン
100 quintal zentner
0.45359237 pound-weight lb lbs
0.028349523125 ounce ounces oz
6.35029 stone-weight
temperature
1 °c degrees-celsius degree-celsius celsius degc ℃ 摄氏度 grad-celsius
0.5555555555555556 °f degrees-fahrenheit degree-fahrenheit fahrenheit degf ℉ 华氏度
1 kelvin
angle
1 degree degrees ° deg grad degrés grados gradi graus
energy
1 joule joules j
1000 kilojoule kilojoules kj
1000000 megajoule mj
3600 watt-hour watt-hours wh watthour watthours wattstunden 瓦时 瓦時
3600000 kilowatt-hour kilowatt-hours kwh kilowattstunden kilowattstunde kilowattheures 千瓦时 度电 кВтч kw/h
3600000000 megawatt-hour megawatt-hours mwh
3600000000000 gigawatt-hour gigawatt-hours gwh
4184 kcal kilocalorie kilocalories kilokalorien キロカロリー 千卡 ккал
4.184 calorie calories
power
1 watt watts w ватт ватта 瓦 ワット वाट واط
0.001 milliwatt milliwatts
1000 kilowatt kilowatts kw кВт 千瓦
1000000 megawatt megawatts mw
1000000000 gigawatt gigawatts gw
745.7 horsepower hp ps
data
1 byte bytes b
1000 kilobyte kilobytes kb
1000000 megabyte megabytes mb
1000000000 gigabyte gigabytes gb go гб
1000000000000 terabyte terabytes tb
1024 kib kibibytes kibibyte
1048576 mib mebibytes mebibyte
1073741824 gib gibibytes gibibyte
1099511627776 tib tebibytes
bits
1 bit bits
1000 kbit kbits kbps kbit/s
1000000 mbit mbits mbps mbit/s megabit megabits
1000000000 gbit gbits gbps gbit/s gigabit gigabits
speed
1000 km/s
0.2777777777777778 km/h kmh kph kilometres-per-hour kilometers-per-hour км/ч stundenkilometer
1 m/s metres-per-second meters-per-second м/с
0.44704 mph miles-per-hour
0.5144444 knot knots kn kt kts knoten nœuds
pressure
1 pascal pa pascals
100 hpa mbar hectopascal millibar
1000 kpa kilopascal kilopascals
1000000 mpa megapascal megapascals
1000000000 gpa gigapascal
100000 bar bars
133.322 mmhg
6894.757 psi
frequency
1 hertz hz
1000 kilohertz khz
1000000 megahertz mhz
1000000000 gigahertz ghz
voltage
1 volt volts v
0.001 millivolt mv
1000 kilovolt kv
current
1 ampere amperes amp amps a
0.001 milliampere milliamps ma mah
sound
1 decibel decibels db dba dezibel decibelios décibels 分贝 デシベル
pixel
1 px pixel pixels
screen
1 rem
1 em
percent
1 % percent per-cent pct prozent pourcent por-ciento por-cento percento procent процент процента процентов प्रतिशत फीसदी ٪ في-المئة بالمئة パーセント per-cento pour-cent ％
points
1 percentage-point percentage-points prozentpunkt prozentpunkte points-de-pourcentage puntos-porcentuales pp ppt 百分点 个百分点
0.01 basis-point basis-points bps
permille
1 ‰ promille permille
USD
1 $ us$ usd dollar dollars dólar dólares dollari доллар доллара долларов 美元 ドル دولار डॉलर
EUR
1 € eur euro euros евро 欧元 ユーロ يورو यूरो
GBP
1 £ gbp pound pounds quid pfund libras sterling 英镑
0.01 penny pence p
JPY
1 ¥ jpy yen 円 日元
CNY
1 元 yuan rmb cny 人民币
INR
1 ₹ inr rupee rupees रुपये रुपए रुपया rs rs.
RUB
1 ₽ rub rouble roubles ruble rubles рублей рубля рубль руб руб.
BRL
1 r$ brl real reais
CHF
1 chf franken francs-suisses
SAR
1 ريال ريالا ريالًا riyal riyals sar
SEK
1 krona kronor sek
NOK
1 kroner krone nok dkk
CROWN
1 crown crowns kronen czk kč
PLN
1 złoty zł pln zloty zlotys
CAD
1 c$ ca$ cad
AUD
1 a$ au$ aud
KRW
1 ₩ krw won 원
TRY
1 ₺ lira liras
AED
1 aed dirham dirhams درهم
MAD
1 mad
cent
1 cent cents centimes céntimos centesimi centavos
"""
# Symbols whose case tells them apart; all others are read in any case.
_CASED: dict[str, tuple[str, float, str]] = {
    "C": ("temperature", 1.0, "°C"), "F": ("temperature", 5 / 9, "°F"), "K": ("temperature", 1.0, "K"),
    "M": ("data", 1e6, "MB"), "G": ("data", 1e9, "GB"), "Mi": ("data", 2.0**20, "MiB"),
    "Gi": ("data", 2.0**30, "GiB"), "Ki": ("data", 1024.0, "KiB"), "MW": ("power", 1e6, "MW"),
    "mW": ("power", 1e-3, "mW"), "MPa": ("pressure", 1e6, "MPa"), "Mb": ("bits", 1e6, "Mbit"),
    "Gb": ("bits", 1e9, "Gbit"), "MJ": ("energy", 1e6, "MJ"),
}  # fmt: skip
_OFFSETS = {"°c": 273.15, "°f": 273.15 - 32 * 5 / 9, "degrees-celsius": 273.15}
_ALONE = frozenset(
    (
        "in",
        "a",
        "an",
        "b",
        "d",
        "p",
        "el",
        "tl",
        "as",
        "us",
        "ton",
        "et",
        "ore",
        "go",
        "ora",
        "mad",
        "won",
        "real",
        "pa",
        "ma",
        "dia",
        "us",
    )
)
CURRENCIES = frozenset(
    "USD EUR GBP JPY CNY INR RUB BRL CHF SAR SEK NOK CROWN PLN CAD AUD KRW TRY AED MAD cent".split()
)
SYMBOLS = ("US$", "CA$", "AU$", "R$", "C$", "A$", "$", "€", "£", "¥", "₹", "₽", "₩", "₺")


def _table() -> dict[str, Measure]:
    out: dict[str, Measure] = {}
    dimension = ""
    for line in _TABLE.strip().splitlines():
        parts = line.split()
        if len(parts) == 1:
            dimension = parts[0]
            continue
        factor, names = float(parts[0]), [name.casefold() for name in parts[1:]]
        name = parts[1]
        offset = _OFFSETS.get(names[0], 0.0)
        for one in names:
            out.setdefault(one.replace("-", " "), Measure(dimension, factor, name.replace("-", " "), offset))
    return out


_UNITS = _table()
_CASES = {
    symbol: Measure(d, f, n, {"°C": 273.15, "°F": 273.15 - 32 * 5 / 9}.get(n, 0.0))
    for symbol, (d, f, n) in _CASED.items()
}
_SHORT_NAMES = frozenset(("µg", "μg", "µs", "μs", "µm", "μm"))
LONGEST_WORDS = 3
# Words that stand between a number and its unit and only narrow it.
NARROWING = frozenset(
    "more further full whole business working consecutive calendar additional extra additional entire solid "
    "straight paid unpaid good short long other weitere ganze volle weiteren mehr full-time school nautical".split()
)


@lru_cache(maxsize=8192)
def measure_of(word: str) -> Measure | None:
    """The unit that `word` (up to three words parted by spaces) names, or None."""
    cased = _CASES.get(word)
    if cased is not None:
        return cased
    folded = word.casefold().strip(".")
    found = _UNITS.get(folded)
    if found is not None or len(folded) < 4:
        return found
    return _UNITS.get(re.sub(r"(?<=\w\w\w)(?:'s|’s|s)\Z", "", folded))


def is_ambiguous(word: str) -> bool:
    """Whether a unit's short name is also a common word ("in", "a", "as"), to be read with care."""
    return word.casefold() in _ALONE


DENOMINATORS = {
    "daily": 86400.0, "hourly": 3600.0, "weekly": 604800.0, "nightly": 86400.0, "täglich": 86400.0,
    "wöchentlich": 604800.0, "stündlich": 3600.0, "quotidien": 86400.0,
}  # fmt: skip
MONTHLY = {
    "monthly": 1.0, "yearly": 12.0, "annually": 12.0, "annual": 12.0, "quarterly": 3.0, "monatlich": 1.0,
    "jährlich": 12.0, "mensuel": 1.0, "annuel": 12.0, "mensuali": 1.0, "mensual": 1.0, "mensal": 1.0,
    "anual": 12.0, "annuo": 12.0, "mensile": 1.0, "p.a.": 12.0, "मासिक": 1.0, "वार्षिक": 12.0,
}  # fmt: skip
