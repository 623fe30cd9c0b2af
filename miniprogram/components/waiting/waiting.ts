/** Something is being read: the shape of what will come. */
Component({ data: { blocks: [1, 2, 3] } })
