"""Famous sights and the cities in which they stand."""

_SIGHTS = """
Paris: Eiffel Tower, Louvre, Pantheon Dome, Moulin Rouge, Orsay Museum
Rome: Colosseum, Trevi Fountain, Roman Forum, Spanish Steps, Sistine Chapel
London: Big Ben Clock, Tower Bridge, British Museum, Globe Theater, Hyde Park
Berlin: Brandenburg Gate, Reichstag, Pergamon Museum
Madrid: Prado Museum, Royal Armory
Barcelona: Sagrada Familia, Park Guell
Athens: Acropolis, Parthenon
Moscow: Kremlin, Bolshoi Theater, Red Square
Vienna: Hofburg Palace, Belvedere, State Opera
Prague: Charles Bridge, Astronomical Clock
Budapest: Chain Bridge, Fisher Bastion
Istanbul: Blue Mosque, Hagia Sophia, Grand Bazaar
Cairo: Egyptian Museum, Khan Market
Beijing: Forbidden City, Temple of Heaven
Tokyo: Tokyo Tower, Sensoji Temple, Imperial Palace
Kyoto: Golden Pavilion, Bamboo Grove
Agra: Taj Mahal, Agra Fort
Delhi: Red Fort, Lotus Temple
Sydney: Opera House, Harbor Bridge
Dubai: Burj Khalifa, Palm Fountain
New York: Statue of Liberty, Empire State Building, Central Park, Brooklyn Bridge
Chicago: Bean Sculpture, Willis Tower
Toronto: CN Tower
Seattle: Space Needle
Washington: White House, Lincoln Memorial
Boston: Freedom Trail
Amsterdam: Rijksmuseum, Anne Frank House
Copenhagen: Little Mermaid, Tivoli Gardens
Stockholm: Vasa Museum
Oslo: Viking Museum
Lisbon: Belem Tower
Venice: Bridge of Sighs, Rialto Bridge
Florence: Uffizi Gallery, Old Bridge
Milan: Last Supper, Scala Opera
Pisa: Leaning Tower
Brussels: Atomium
Edinburgh: Royal Mile
Dublin: Book of Kells
Lima: Water Circuit
Havana: Old Fortress
Jerusalem: Western Wall
Mumbai: Gateway of India
Bangkok: Reclining Buddha
Shanghai: Oriental Pearl Tower
"""
LANDMARKS = {
    sight: city
    for city, sights in (line.split(": ") for line in _SIGHTS.strip().splitlines())
    for sight in sights.split(", ")
}
