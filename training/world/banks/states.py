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
Texas=TX, Lone Star, mockingbird, South. California=CA, Golden, quail, West. Illinois=IL, Prairie, cardinal, Midwest
Georgia=GA, Peach, thrasher, South. Florida=FL, Sunshine, mockingbird, South. Washington=WA, Evergreen, goldfinch, West
Oregon=OR, Beaver, meadowlark, West. Nevada=NV, Silver, bluebird, West. Utah=UT, Beehive, gull, West
Arizona=AZ, Grand Canyon, wren, West. Colorado=CO, Centennial, bunting, West. Ohio=OH, Buckeye, cardinal, Midwest
Michigan=MI, Wolverine, robin, Midwest. Wisconsin=WI, Badger, robin, Midwest. Minnesota=MN, North Star, loon, Midwest
Iowa=IA, Hawkeye, goldfinch, Midwest. Missouri=MO, Show Me, bluebird, Midwest
Kansas=KS, Sunflower, meadowlark, Midwest. Nebraska=NE, Cornhusker, meadowlark, Midwest
Oklahoma=OK, Sooner, flycatcher, South. Arkansas=AR, Natural, mockingbird, South. Louisiana=LA, Pelican, pelican, South
Mississippi=MS, Magnolia, mockingbird, South. Alabama=AL, Yellowhammer, yellowhammer, South
Tennessee=TN, Volunteer, mockingbird, South. Kentucky=KY, Bluegrass, cardinal, South
Virginia=VA, Old Dominion, cardinal, South. Maryland=MD, Old Line, oriole, South
Pennsylvania=PA, Keystone, grouse, Northeast. New York=NY, Empire, bluebird, Northeast
Vermont=VT, Green Mountain, thrush, Northeast. Maine=ME, Pine Tree, chickadee, Northeast
Massachusetts=MA, Bay, chickadee, Northeast. Connecticut=CT, Constitution, robin, Northeast
Delaware=DE, First, hen, South. Montana=MT, Treasure, meadowlark, West. Wyoming=WY, Equality, meadowlark, West
Idaho=ID, Gem, bluebird, West. Alaska=AK, Last Frontier, ptarmigan, West. Hawaii=HI, Aloha, goose, West
Indiana=IN, Hoosier, cardinal, Midwest
"""
_LINES = [(*head.split("="), cities) for head, cities in (line.split(": ") for line in _CITIES.strip().splitlines())]
CAPITALS = {state: capital for state, capital, _ in _LINES}
STATE_OF = {city: state for state, _, cities in _LINES for city in cities.split(", ")}
_ROWS = [entry.split("=") for line in _MORE.strip().splitlines() for entry in line.split(". ")]
_KINDS = ("postal code", "nickname", "state bird", "region")
ATTRIBUTES = {"capital": CAPITALS} | {
    kind: {state: values.split(", ")[place] for state, values in _ROWS} for place, kind in enumerate(_KINDS)
}
