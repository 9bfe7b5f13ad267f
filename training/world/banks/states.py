"""The states of the United States: what belongs to each, and cities that are not the capital."""

_CITIES = """
Texas=Austin: Dallas, Houston, El Paso, Laredo, Lubbock, Waco, Plano
California=Sacramento: Oakland, Fresno, Anaheim, Berkeley, Pasadena, Burbank
Illinois=Springfield: Chicago, Peoria, Joliet, Evanston, Cicero
Georgia=Atlanta: Savannah, Macon, Decatur, Valdosta, Marietta
Florida=Tallahassee: Miami, Tampa, Orlando, Sarasota, Ocala, Key West
Washington=Olympia: Seattle, Spokane, Tacoma, Yakima, Everett
Oregon=Salem: Portland, Eugene, Bend, Medford, Corvallis
Nevada=Carson City: Las Vegas, Reno, Elko, Sparks, Henderson
Utah=Salt Lake City: Provo, Ogden, Moab, Orem, Logan
Arizona=Phoenix: Tucson, Mesa, Tempe, Yuma, Flagstaff, Sedona
Colorado=Denver: Boulder, Pueblo, Aspen, Vail, Durango
Ohio=Columbus: Cleveland, Toledo, Akron, Dayton, Canton
Michigan=Lansing: Detroit, Flint, Saginaw, Ann Arbor, Warren
Wisconsin=Madison: Milwaukee, Green Bay, Racine, Kenosha, Oshkosh
Minnesota=Saint Paul: Duluth, Bloomington, Mankato, Winona, Edina
Iowa=Des Moines: Dubuque, Ames, Davenport, Sioux City, Waterloo
Missouri=Jefferson City: Branson, Joplin, Saint Louis, Sedalia, Hannibal
Kansas=Topeka: Wichita, Salina, Dodge City, Olathe, Hays
Nebraska=Lincoln: Omaha, Kearney, Grand Island, Hastings, Fremont
Oklahoma=Oklahoma City: Tulsa, Norman, Enid, Lawton, Ponca City
Arkansas=Little Rock: Fort Smith, Jonesboro, Conway, Bentonville, Texarkana
Louisiana=Baton Rouge: New Orleans, Shreveport, Monroe, Houma, Lake Charles
Mississippi=Jackson: Biloxi, Tupelo, Natchez, Vicksburg, Meridian
Alabama=Montgomery: Mobile, Selma, Huntsville, Dothan, Tuscaloosa
Tennessee=Nashville: Memphis, Knoxville, Chattanooga, Clarksville, Franklin
Kentucky=Frankfort: Louisville, Lexington, Paducah, Owensboro, Danville
Virginia=Richmond: Roanoke, Norfolk, Hampton, Lynchburg, Suffolk
Maryland=Annapolis: Baltimore, Bethesda, Frederick, Towson, Bowie
Pennsylvania=Harrisburg: Pittsburgh, Scranton, Erie, Allentown, Reading
New York=Albany: Buffalo, Rochester, Syracuse, Utica, Yonkers, Ithaca
Vermont=Montpelier: Burlington, Rutland, Stowe, Barre, Bennington
Maine=Augusta: Bangor, Lewiston, Bar Harbor, Biddeford, Kittery
Massachusetts=Boston: Worcester, Lowell, Brockton, Plymouth, Quincy
Connecticut=Hartford: New Haven, Stamford, Bridgeport, Danbury, Mystic
Delaware=Dover: Wilmington, Smyrna, Lewes, Milford, Seaford
Montana=Helena: Billings, Missoula, Bozeman, Butte, Kalispell
Wyoming=Cheyenne: Casper, Laramie, Cody, Gillette, Sheridan
Idaho=Boise: Pocatello, Nampa, Sun Valley, Twin Falls, Rexburg
Alaska=Juneau: Anchorage, Nome, Fairbanks, Sitka, Ketchikan
Hawaii=Honolulu: Hilo, Kona, Lahaina, Kailua, Wailuku
Indiana=Indianapolis: Gary, Muncie, Fort Wayne, South Bend, Evansville
"""
_MORE = """
Texas=TX, Lone Star, mockingbird, South, pecan, bluebonnet, 1845, Central
California=CA, Golden, quail, West, redwood, poppy, 1850, Pacific
Illinois=IL, Prairie, cardinal, Midwest, oak, violet, 1818, Central
Georgia=GA, Peach, thrasher, South, oak, rose, 1788, Eastern
Florida=FL, Sunshine, mockingbird, South, palm, blossom, 1845, Eastern
Washington=WA, Evergreen, goldfinch, West, hemlock, rhododendron, 1889, Pacific
Oregon=OR, Beaver, meadowlark, West, fir, grape, 1859, Pacific
Nevada=NV, Silver, bluebird, West, pine, sagebrush, 1864, Pacific
Utah=UT, Beehive, gull, West, aspen, lily, 1896, Mountain
Arizona=AZ, Grand Canyon, wren, West, paloverde, saguaro, 1912, Mountain
Colorado=CO, Centennial, bunting, West, spruce, columbine, 1876, Mountain
Ohio=OH, Buckeye, cardinal, Midwest, buckeye, carnation, 1803, Eastern
Michigan=MI, Wolverine, robin, Midwest, pine, blossom, 1837, Eastern
Wisconsin=WI, Badger, robin, Midwest, maple, violet, 1848, Central
Minnesota=MN, North Star, loon, Midwest, pine, orchid, 1858, Central
Iowa=IA, Hawkeye, goldfinch, Midwest, oak, rose, 1846, Central
Missouri=MO, Show Me, bluebird, Midwest, dogwood, hawthorn, 1821, Central
Kansas=KS, Sunflower, meadowlark, Midwest, cottonwood, sunflower, 1861, Central
Nebraska=NE, Cornhusker, meadowlark, Midwest, cottonwood, goldenrod, 1867, Central
Oklahoma=OK, Sooner, flycatcher, South, redbud, rose, 1907, Central
Arkansas=AR, Natural, mockingbird, South, pine, blossom, 1836, Central
Louisiana=LA, Pelican, pelican, South, cypress, magnolia, 1812, Central
Mississippi=MS, Magnolia, mockingbird, South, magnolia, magnolia, 1817, Central
Alabama=AL, Yellowhammer, yellowhammer, South, pine, camellia, 1819, Central
Tennessee=TN, Volunteer, mockingbird, South, poplar, iris, 1796, Central
Kentucky=KY, Bluegrass, cardinal, South, poplar, goldenrod, 1792, Eastern
Virginia=VA, Old Dominion, cardinal, South, dogwood, dogwood, 1788, Eastern
Maryland=MD, Old Line, oriole, South, oak, daisy, 1788, Eastern
Pennsylvania=PA, Keystone, grouse, Northeast, hemlock, laurel, 1787, Eastern
New York=NY, Empire, bluebird, Northeast, maple, rose, 1788, Eastern
Vermont=VT, Green Mountain, thrush, Northeast, maple, clover, 1791, Eastern
Maine=ME, Pine Tree, chickadee, Northeast, pine, pine, 1820, Eastern
Massachusetts=MA, Bay, chickadee, Northeast, elm, mayflower, 1788, Eastern
Connecticut=CT, Constitution, robin, Northeast, oak, laurel, 1788, Eastern
Delaware=DE, First, hen, South, holly, blossom, 1787, Eastern
Montana=MT, Treasure, meadowlark, West, pine, bitterroot, 1889, Mountain
Wyoming=WY, Equality, meadowlark, West, cottonwood, paintbrush, 1890, Mountain
Idaho=ID, Gem, bluebird, West, pine, syringa, 1890, Mountain
Alaska=AK, Last Frontier, ptarmigan, West, spruce, myosotis, 1959, Alaska
Hawaii=HI, Aloha, goose, West, kukui, hibiscus, 1959, Hawaii
Indiana=IN, Hoosier, cardinal, Midwest, poplar, peony, 1816, Eastern
"""
_LINES = [(*head.split("="), cities) for head, cities in (line.split(": ") for line in _CITIES.strip().splitlines())]
CAPITALS = {state: capital for state, capital, _ in _LINES}
STATE_OF = {city: state for state, _, cities in _LINES for city in cities.split(", ")}
_ROWS = [line.split("=") for line in _MORE.strip().splitlines()]
_KINDS = ("postal code", "nickname", "state bird", "region", "state tree", "state flower", "first year", "time zone")
ATTRIBUTES = {
    "capital": CAPITALS,
    **{kind: {state: values.split(", ")[place] for state, values in _ROWS} for place, kind in enumerate(_KINDS)},
    "first letter": {state: state[0] for state in CAPITALS},
    "number": {state: str(number) for number, state in enumerate(sorted(CAPITALS), 1)},
}
