# SPDX-License-Identifier: MIT
"""lxml: trees of libxml2, whose memory is malloc's alone; a broken document; a style sheet."""
from hold import hold
from lxml import etree

text = "<shop>" + "".join("<item n='%d'><name>thing %d</name></item>" % (n, n) for n in range(2000)) + "</shop>"
sheet = etree.XSLT(etree.XML("""
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output method="text"/><xsl:template match="/"><xsl:value-of select="count(//item)"/></xsl:template>
</xsl:stylesheet>"""))
print(str(sheet(etree.fromstring(text))), etree.fromstring(text).xpath("sum(//item/@n)"))
try:
    etree.fromstring(text[:-3])
except etree.XMLSyntaxError as error:
    print(error)
kept = [etree.fromstring(text) for _ in range(10)]  # @kept
print(len(etree.tostring(kept[3])))
# Of each item: two elements, an attribute, two texts, each with a structure of 120 bytes of its own.
hold(10 * 2000 * 4 * 100, 10 * 2000 * 8 * 150)
