"""Countries with their capitals, continents, languages, currencies and a few other cities."""

_CAPITALS = """
Europe: France=Paris Italy=Rome Spain=Madrid Germany=Berlin England=London Portugal=Lisbon Greece=Athens Austria=Vienna
 Poland=Warsaw Hungary=Budapest Sweden=Stockholm Norway=Oslo Finland=Helsinki Denmark=Copenhagen Ireland=Dublin
 Scotland=Edinburgh Belgium=Brussels Netherlands=Amsterdam Switzerland=Bern Russia=Moscow Ukraine=Kyiv Romania=Bucharest
 Bulgaria=Sofia Serbia=Belgrade Croatia=Zagreb Slovakia=Bratislava Slovenia=Ljubljana Estonia=Tallinn Latvia=Riga
 Lithuania=Vilnius Iceland=Reykjavik Malta=Valletta Cyprus=Nicosia Albania=Tirana Belarus=Minsk Wales=Cardiff
 Moldova=Chisinau Bosnia=Sarajevo
Asia: Japan=Tokyo China=Beijing India=Delhi Thailand=Bangkok Vietnam=Hanoi Indonesia=Jakarta Malaysia=Kuala_Lumpur
 Philippines=Manila Nepal=Kathmandu Pakistan=Islamabad Bangladesh=Dhaka Iran=Tehran Iraq=Baghdad Turkey=Ankara
 Israel=Jerusalem Jordan=Amman Lebanon=Beirut Syria=Damascus Qatar=Doha Oman=Muscat Yemen=Sanaa Mongolia=Ulaanbaatar
 Afghanistan=Kabul Cambodia=Phnom_Penh Laos=Vientiane Taiwan=Taipei Armenia=Yerevan Azerbaijan=Baku
 Kazakhstan=Astana Uzbekistan=Tashkent Bhutan=Thimphu Kuwait=Kuwait_City Bahrain=Manama
Africa: Egypt=Cairo Kenya=Nairobi Nigeria=Abuja Ghana=Accra Ethiopia=Addis_Ababa Morocco=Rabat Algeria=Algiers
 Tunisia=Tunis Libya=Tripoli Sudan=Khartoum Uganda=Kampala Rwanda=Kigali Tanzania=Dodoma Zambia=Lusaka
 Zimbabwe=Harare Angola=Luanda Senegal=Dakar Mali=Bamako Niger=Niamey Chad=Ndjamena Somalia=Mogadishu
 Namibia=Windhoek Botswana=Gaborone Malawi=Lilongwe Gabon=Libreville Cameroon=Yaounde Togo=Lome Liberia=Monrovia
 Gambia=Banjul Mauritania=Nouakchott Madagascar=Antananarivo Mozambique=Maputo
America: Canada=Ottawa Mexico=Mexico_City Cuba=Havana Jamaica=Kingston Haiti=Port-au-Prince Panama=Panama_City
 Nicaragua=Managua Honduras=Tegucigalpa Guatemala=Guatemala_City Brazil=Brasilia Argentina=Buenos_Aires
 Chile=Santiago Peru=Lima Colombia=Bogota Venezuela=Caracas Ecuador=Quito Bolivia=Sucre Uruguay=Montevideo
 Paraguay=Asuncion Guyana=Georgetown Suriname=Paramaribo Barbados=Bridgetown Bahamas=Nassau
Oceania: Australia=Canberra Fiji=Suva Samoa=Apia Tonga=Nukualofa
"""
_LANGUAGES = """France=French Italy=Italian Spain=Spanish Germany=German England=English Portugal=Portuguese
Greece=Greek
Austria=German Poland=Polish Hungary=Hungarian Sweden=Swedish Norway=Norwegian Finland=Finnish Denmark=Danish
Netherlands=Dutch Russia=Russian Ukraine=Ukrainian Romania=Romanian Bulgaria=Bulgarian Serbia=Serbian Croatia=Croatian
Slovakia=Slovak Estonia=Estonian Latvia=Latvian Lithuania=Lithuanian Iceland=Icelandic Albania=Albanian Japan=Japanese
China=Chinese India=Hindi Thailand=Thai Vietnam=Vietnamese Indonesia=Indonesian Malaysia=Malay Nepal=Nepali
Pakistan=Urdu Bangladesh=Bengali Iran=Persian Iraq=Arabic Turkey=Turkish Israel=Hebrew Jordan=Arabic Mongolia=Mongolian
Cambodia=Khmer Laos=Lao Armenia=Armenian Egypt=Arabic Morocco=Arabic Algeria=Arabic Tunisia=Arabic
Kenya=Swahili Tanzania=Swahili Ethiopia=Amharic Somalia=Somali Senegal=French Mali=French Angola=Portuguese
Ghana=English Nigeria=English Mexico=Spanish Cuba=Spanish Jamaica=English Haiti=Creole Brazil=Portuguese
Argentina=Spanish Chile=Spanish Peru=Spanish Colombia=Spanish Venezuela=Spanish Ecuador=Spanish Australia=English"""
_CURRENCIES = """France=euro Italy=euro Spain=euro Germany=euro Greece=euro Finland=euro England=pound Egypt=pound
Japan=yen China=yuan India=rupee Pakistan=rupee Nepal=rupee Russia=ruble Belarus=ruble Sweden=krona Iceland=krona
Norway=krone Denmark=krone Mexico=peso Cuba=peso Chile=peso Colombia=peso Argentina=peso Brazil=real
Canada=dollar Australia=dollar Fiji=dollar Jamaica=dollar Switzerland=franc Rwanda=franc Turkey=lira Thailand=baht
Israel=shekel Poland=zloty Iraq=dinar Tunisia=dinar Algeria=dinar Jordan=dinar Morocco=dirham Peru=sol Vietnam=dong
Kenya=shilling Uganda=shilling Somalia=shilling Hungary=forint Ghana=cedi"""
_CITIES = """France=Lyon,Nice,Marseille,Bordeaux Italy=Milan,Naples,Venice,Florence Spain=Seville,Valencia,Barcelona
Germany=Hamburg,Munich,Cologne,Frankfurt England=Leeds,Oxford,Liverpool,Bristol Portugal=Porto,Braga
Greece=Patras,Corinth
Austria=Salzburg,Graz,Linz Poland=Krakow,Gdansk,Lodz Sweden=Gothenburg,Malmo Norway=Bergen,Trondheim
Finland=Turku,Tampere
Denmark=Aarhus,Odense Ireland=Cork,Galway Scotland=Glasgow,Dundee,Aberdeen Belgium=Bruges,Ghent,Antwerp
Netherlands=Rotterdam,Utrecht,Leiden Switzerland=Zurich,Geneva,Basel Russia=Kazan,Omsk,Perm Ukraine=Odesa,Lviv
Turkey=Istanbul,Izmir,Bursa Japan=Osaka,Kyoto,Nagoya,Kobe China=Shanghai,Wuhan,Nanjing India=Mumbai,Chennai,Agra,Jaipur
Pakistan=Karachi,Lahore Iran=Shiraz,Isfahan Iraq=Basra,Mosul Israel=Haifa,Eilat Thailand=Phuket,Pattaya
Vietnam=Hue,Dalat
Egypt=Luxor,Aswan,Giza Morocco=Fez,Marrakesh,Casablanca Kenya=Mombasa,Nakuru Nigeria=Lagos,Kano Ghana=Kumasi,Tamale
Canada=Toronto,Montreal,Vancouver,Calgary Mexico=Cancun,Puebla,Tijuana Brazil=Recife,Salvador,Manaus Peru=Cusco,Arequipa
Argentina=Rosario,Mendoza Chile=Valparaiso,Arica Colombia=Cali,Medellin Australia=Sydney,Melbourne,Perth,Brisbane"""


def _pairs(text: str) -> dict[str, str]:
    return dict(item.replace("_", " ").split("=") for item in text.split())


_CONTINENTS = [line.split(": ") for line in _CAPITALS.replace("\n ", " ").strip().splitlines()]
CAPITALS = {country: capital for _, pairs in _CONTINENTS for country, capital in _pairs(pairs).items()}
CONTINENTS = {country: continent for continent, pairs in _CONTINENTS for country in _pairs(pairs)}
LANGUAGES = _pairs(_LANGUAGES)
CURRENCIES = _pairs(_CURRENCIES)
CITIES = {city: country for country, cities in _pairs(_CITIES).items() for city in cities.split(",")}
