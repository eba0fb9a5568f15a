# Writes OUT, a C table NAME of the texts of FILES (separated by commas). Run by the build:
#   cmake -DOUT= -DNAME= -DFILES= -P embed.cmake
string(REPLACE "," ";" files "${FILES}")
set(texts "")
set(table "")
set(index 0)
foreach(file ${files})
  get_filename_component(name ${file} NAME)
  file(READ ${file} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR bytes "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," body "${hex}")
  string(APPEND texts "static const unsigned char text_${index}[] = {${body}0};\n")
  string(APPEND table "    {\"${name}\", text_${index}, ${bytes}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "/* Made by embed.cmake. */\n#include \"base/embedded.h\"\n\n${texts}\n"
  "const mcl__embedded ${NAME}[] = {\n${table}    {0, 0, 0},\n};\n")
